//! Renders the OpenRPC document as the HTML page `/docs`, which is static and has no scripts.

use std::fmt::{self, Display, Write};

use serde_json::Value;

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
    overflow-wrap:anywhere}pre{overflow:auto;padding:.7rem 1rem;background:#8882;overflow-wrap:normal}\
    table{border-collapse:collapse;width:100%}summary{cursor:pointer}details{margin:.6rem 0}\
    td,th{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #8884}\
    section{margin-top:2.5rem}h2,h3,h4{margin-bottom:.2rem}.tag{font-size:.8rem;opacity:.7}.hint{opacity:.8}\
    td:first-child code{overflow-wrap:normal}:target{background:#fc03}\
    @media(max-width:40rem){tr,td,th{display:block;border:0;padding:0}tr{padding:.4rem 0;border-bottom:1px solid #8884}}";

/// Text that is escaped for HTML when displayed.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Text that is displayed as HTML, with a `code` element for each part in backticks.
struct Prose<'a>(&'a str);

impl Display for Prose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<&str> = self.0.split('`').collect();
        if parts.len().is_multiple_of(2) {
            return Escaped(self.0).fmt(f);
        }
        for (at, part) in parts.into_iter().enumerate() {
            match at % 2 {
                0 => Escaped(part).fmt(f)?,
                _ => write!(f, "<code>{}</code>", Escaped(part))?,
            }
        }
        Ok(())
    }
}

fn prose<'a>(value: &'a Value, name: &str) -> Prose<'a> {
    Prose(value[name].as_str().unwrap_or_default())
}

fn text<'a>(value: &'a Value, name: &str) -> Escaped<'a> {
    Escaped(value[name].as_str().unwrap_or_default())
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// Renders the page of the gateway with the base domain `base` from its OpenRPC `document`.
pub(super) fn render(document: &Value, base: &str) -> String {
    let mut page = String::with_capacity(64 * 1024);
    // Writing to a String cannot fail.
    let _ = write_page(&mut page, document, base);
    page
}

fn write_page(page: &mut String, document: &Value, base: &str) -> fmt::Result {
    let (info, base) = (&document["info"], Escaped(base));
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>The API of {base}</title>\n<style>{STYLE}</style>\n<h1>The API of {base}</h1>\n<p>{}</p>\n\
         <p>JSON-RPC 2.0 by POST to <code>https://{base}/rpc</code>; version {}. The same as an OpenRPC document: \
         <a href=\"/openrpc.json\">/openrpc.json</a>.</p>\n",
        prose(info, "description"),
        text(info, "version"),
    )?;
    page.push_str("<table>\n");
    for method in list(document, "methods") {
        let (name, summary) = (text(method, "name"), prose(method, "summary"));
        writeln!(page, "<tr><td><a href=\"#{name}\"><code>{name}</code></a><td>{summary}")?;
    }
    page.push_str(
        "</table>\n<p><a href=\"#errors\">Errors of any request</a>, <a href=\"#types\">types</a></p>\n",
    );
    for method in list(document, "methods") {
        write_method(page, document, method)?;
    }
    page.push_str(
        "<section><h2 id=\"errors\">Errors of any request</h2>\n<p>These errors occur before a method is called.</p>\n",
    );
    write_errors(page, document, list(document, "x-errors"))?;
    page.push_str("</section>\n<section><h2 id=\"types\">Types</h2>\n");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        write_schema(page, name, schema)?;
    }
    page.push_str("</section>\n</html>\n");
    Ok(())
}

fn write_method(page: &mut String, document: &Value, method: &Value) -> fmt::Result {
    let name = text(method, "name");
    write!(page, "<section id=\"{name}\"><h2><code>{name}</code>")?;
    for tag in list(method, "tags") {
        write!(page, " <span class=\"tag\">{}</span>", text(tag, "name"))?;
    }
    writeln!(page, "</h2>\n<p>{}.</p>\n<p>{}</p>", prose(method, "summary"), prose(method, "description"))?;
    let params = list(method, "params");
    if !params.is_empty() {
        page.push_str("<table><tr><th>Param<th>Type<th>\n");
        for param in params {
            let required = if param["required"] == true { " <b>required</b>" } else { "" };
            write!(page, "<tr><td><code>{}</code>{required}<td>", text(param, "name"))?;
            write_type(page, &param["schema"])?;
            writeln!(page, "<td>{}", prose(param, "description"))?;
        }
        page.push_str("</table>\n");
    }
    page.push_str("<p>Result: ");
    write_type(page, &method["result"]["schema"])?;
    page.push_str("</p>\n");
    for example in list(method, "examples") {
        write_example(page, method, example)?;
    }
    page.push_str("<details><summary>Errors</summary>\n");
    write_errors(page, document, list(method, "x-errors"))?;
    page.push_str(
        "<p>All <a href=\"#errors\">errors of any request</a> are possible too.</p></details></section>\n",
    );
    Ok(())
}

/// Writes a table of errors with kind, code, an example message and a hint.
fn write_errors(page: &mut String, document: &Value, errors: &[Value]) -> fmt::Result {
    page.push_str("<table><tr><th>Kind<th>Code<th>For example\n");
    for error in errors {
        let error = resolve_ref(document, error);
        let data = &error["data"];
        write!(page, "<tr><td><code>{}</code><td>{}<td>", text(data, "kind"), error["code"])?;
        if data["field"].is_string() {
            write!(page, "<code>{}</code>: ", text(data, "field"))?;
        }
        write!(page, "{}", prose(error, "message"))?;
        if data["hint"].is_string() {
            write!(page, " <span class=\"hint\">({})</span>", prose(data, "hint"))?;
        }
        page.push('\n');
    }
    page.push_str("</table>\n");
    Ok(())
}

fn write_example(page: &mut String, method: &Value, example: &Value) -> fmt::Result {
    let params: serde_json::Map<String, Value> = list(example, "params")
        .iter()
        .filter_map(|param| Some((param["name"].as_str()?.to_owned(), param["value"].clone())))
        .collect();
    let call = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": method["name"], "params": params });
    let result = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "result": example["result"]["value"] });
    let (name, call, result) = (text(example, "name"), format!("{call:#}"), format!("{result:#}"));
    writeln!(page, "<details><summary>Example: {name}</summary>")?;
    writeln!(page, "<pre>{}</pre>\n<pre>{}</pre></details>", Escaped(&call), Escaped(&result))
}

fn resolve_ref<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let pointer = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(value)
}

/// Writes a short description of a type, with a link if the type has a name.
fn write_type(page: &mut String, schema: &Value) -> fmt::Result {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        let name = Escaped(name);
        return write!(page, "<a href=\"#type-{name}\">{name}</a>");
    }
    for kind in ["anyOf", "oneOf", "allOf"] {
        let some: Vec<&Value> = list(schema, kind).iter().filter(|one| one["type"] != "null").collect();
        for (at, one) in some.iter().enumerate() {
            page.push_str(if at == 0 { "" } else { " or " });
            write_type(page, one)?;
        }
        if !some.is_empty() {
            return Ok(());
        }
    }
    if let Some(constant) = schema.get("const") {
        return write!(page, "<code>{}</code>", Escaped(&constant.to_string()));
    }
    if schema["type"] == "array" {
        page.push_str("list of ");
        return write_type(page, &schema["items"]);
    }
    let type_name = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        one => one.as_str(),
    };
    write!(page, "{}", Escaped(type_name.unwrap_or("anything")))?;
    match schema["format"].as_str() {
        Some(format) if type_name == Some("string") => write!(page, " ({})", Escaped(format)),
        Some(_) | None => Ok(()),
    }
}

fn write_schema(page: &mut String, name: &str, schema: &Value) -> fmt::Result {
    let name = Escaped(name);
    writeln!(page, "<h3 id=\"type-{name}\">{name}</h3>\n<p>{}</p>", prose(schema, "description"))?;
    page.push_str("<table>\n");
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        write!(page, "<tr><td><code>{}</code><td>", Escaped(name))?;
        write_type(page, property)?;
        writeln!(page, "<td>{}", prose(property, "description"))?;
    }
    for one in list(schema, "oneOf") {
        page.push_str("<tr><td>");
        write_type(page, one)?;
        writeln!(page, "<td>{}", prose(one, "description"))?;
    }
    page.push_str("</table>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::openrpc::document;

    #[test]
    fn the_page_has_every_method_and_param_and_no_broken_link() {
        let (document, page) = (document(), render(&document(), "gw.example"));
        for method in list(&document, "methods") {
            let name = method["name"].as_str().unwrap();
            assert!(page.contains(&format!("<section id=\"{name}\">")), "{name}");
            for param in list(method, "params") {
                assert!(page.contains(&format!("<code>{}</code>", param["name"].as_str().unwrap())));
            }
            for example in list(method, "examples") {
                assert!(page.contains(&format!("Example: {}", text(example, "name"))), "{name}");
            }
        }
        for error in document["components"]["errors"].as_object().unwrap().values() {
            let message = prose(error, "message").to_string();
            assert!(page.contains(&message), "{message}");
        }
        let mut links = 0;
        for link in page.split("href=\"#").skip(1) {
            let target = link.split('"').next().unwrap();
            assert!(page.contains(&format!("id=\"{target}\"")), "{target}");
            links += 1;
        }
        assert!(links > 30, "{links}");
        assert!(!page.contains("<script") && !page.contains("src="));
    }

    #[test]
    fn all_text_is_escaped() {
        let bad = "\"&<script>";
        let value = json!({ "name": bad, "value": { bad: bad } });
        let example = json!({ "name": bad, "params": [value], "result": value });
        let error = json!({ "code": 1, "message": bad, "data": { "kind": bad, "field": bad, "hint": bad } });
        let param = json!({ "name": bad, "description": bad, "schema": { "type": bad } });
        let method = json!({ "name": "a<b", "summary": bad, "description": bad, "params": [param],
            "result": { "schema": {} }, "examples": [example], "x-errors": [error] });
        let document = json!({ "info": {}, "methods": [method], "x-errors": [error],
            "components": { "schemas": { bad: { "description": bad, "properties": { bad: { "type": bad } } } } } });
        let page = render(&document, "x<y");
        assert!(!page.contains("<script>") && !page.contains("a<b") && !page.contains("x<y"));
        assert!(page.contains("&quot;&amp;&lt;script&gt;"));
        assert_eq!(Prose("a `<b>` c").to_string(), "a <code>&lt;b&gt;</code> c");
        assert_eq!(Prose("`<b> c").to_string(), "`&lt;b&gt; c");
    }
}
