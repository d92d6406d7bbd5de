// Checks an OpenRPC document with the library of OpenRPC's authors: against the meta-schema, and that it can be read.
//
// openrpc.mjs URL

import schemaUtils from "@open-rpc/schema-utils-js";

const { parseOpenRPCDocument, validateOpenRPCDocument } = schemaUtils;
const document = await (await fetch(process.argv[2])).json();
const valid = validateOpenRPCDocument(document);
const { info, ...broken } = document;
const parsed = await parseOpenRPCDocument(document);
console.log(
  JSON.stringify({
    valid: valid === true || valid.message,
    brokenIsValid: validateOpenRPCDocument(broken) === true,
    methods: parsed.methods.length,
  }),
);
