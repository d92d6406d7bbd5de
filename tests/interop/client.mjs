// Signs one API call with an npm library and prints the status and the answer.
//
// client.mjs LIBRARY URL KEY_FILE KEY_ID ALGORITHM COMPONENTS BODY; COMPONENTS are separated by commas; with `date` among
// them there is a Date, and neither `created` nor a nonce.

import { createHash, createPrivateKey, randomUUID, constants, sign } from "node:crypto";
import { readFileSync } from "node:fs";

const [library, url, keyFile, keyId, algorithm, components, body] = process.argv.slice(2);
const key = createPrivateKey(readFileSync(keyFile));
const covered = components.split(",");
const digest = createHash("sha512").update(body).digest("base64");
const headers = { "Content-Type": "application/json", "Content-Digest": `sha-512=:${digest}:` };
const dated = covered.includes("date");
if (dated) headers["Date"] = new Date().toUTCString();

const libraries = {
  // Its own order of parameters: as they are listed here.
  async "http-message-signatures"() {
    const { httpbis, createSigner } = (await import("http-message-signatures")).default;
    const signed = await httpbis.signMessage(
      {
        key: createSigner(key, algorithm, keyId),
        name: "node",
        fields: covered,
        params: dated ? ["keyid"] : ["nonce", "alg", "expires", "keyid", "created"],
        paramValues: { nonce: randomUUID() },
      },
      { method: "POST", url, headers, body },
    );
    return signed.headers;
  },
  async "http-message-sig"() {
    const { createSignature, appendSignature } = await import("http-message-sig");
    const padding = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 64 };
    const signer = {
      algorithm,
      async sign(data) {
        return new Uint8Array(algorithm === "ed25519" ? sign(null, data, key) : sign("sha512", data, { key, ...padding }));
      },
    };
    const request = new Request(url, { method: "POST", headers, body });
    const created = Math.floor(Date.now() / 1000);
    const parameters = dated ? { keyid: keyId } : { tag: "interop", nonce: randomUUID(), created, keyid: keyId, expires: created + 60 };
    const fields = await createSignature(request, { label: "edge", components: covered, parameters, signer });
    return Object.fromEntries(appendSignature(request.headers, fields));
  },
};

const answer = await fetch(url, { method: "POST", headers: await libraries[library](), body });
console.log(JSON.stringify({ status: answer.status, answer: await answer.json() }));
