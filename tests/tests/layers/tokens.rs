//! Splits Rust text into tokens: words and punctuation, without comments and without the text of literals.

/// The token for a string or character literal.
pub(crate) const LITERAL: &str = "\"";

/// Returns the tokens of `text`. `::` is one token, every other punctuation is one per character; lifetimes are left
/// out.
pub(crate) fn tokens(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, after) = if let Some(after) = skipped(rest) {
            (None, after)
        } else if let Some(after) = literal(rest) {
            (Some(LITERAL), after)
        } else if is_word(first) {
            let (word, after) = word(rest);
            (Some(word), after)
        } else {
            let length = if rest.starts_with("::") { 2 } else { first.len_utf8() };
            (Some(&rest[..length]), &rest[length..])
        };
        found.extend(token);
        rest = after;
    }
    found
}

/// Returns true if the character may be part of an identifier or a number.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Splits off the word at the start, without the `r#` of a raw identifier.
fn word(text: &str) -> (&str, &str) {
    let text = text.strip_prefix("r#").unwrap_or(text);
    text.split_at(text.find(|c| !is_word(c)).unwrap_or(text.len()))
}

/// Returns the text after the space, comment or lifetime at the start, if there is one.
fn skipped(text: &str) -> Option<&str> {
    let trimmed = text.trim_start();
    if trimmed.len() < text.len() {
        return Some(trimmed);
    }
    if text.starts_with("//") {
        return Some(&text[text.find('\n').unwrap_or(text.len())..]);
    }
    if text.starts_with("/*") {
        return Some(after_block_comment(text));
    }
    let name = text.strip_prefix('\'')?;
    let end = name.find(|c| !is_word(c)).unwrap_or(name.len());
    (end > 0 && !name[end..].starts_with('\'')).then(|| &name[end..])
}

/// Returns the text after the block comment at the start; block comments nest.
fn after_block_comment(text: &str) -> &str {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        let step = if rest.starts_with(b"/*") {
            1
        } else if rest.starts_with(b"*/") {
            -1
        } else {
            0
        };
        depth += step;
        at += if step == 0 { 1 } else { 2 };
        if depth == 0 {
            break;
        }
    }
    text.get(at..).unwrap_or_default()
}

/// Returns the text after the string or character literal at the start, if there is one.
fn literal(text: &str) -> Option<&str> {
    let body = text.trim_start_matches(['b', 'c', 'r']);
    let prefix = &text[..text.len() - body.len()];
    if !matches!(prefix, "" | "b" | "c" | "r" | "br" | "cr") {
        return None;
    }
    if prefix.ends_with('r') {
        let quoted = body.trim_start_matches('#');
        let end = format!("\"{}", &body[..body.len() - quoted.len()]);
        let inner = quoted.strip_prefix('"')?;
        return Some(inner.find(&end).map_or("", |at| &inner[at + end.len()..]));
    }
    let quote = body.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    let mut characters = body[1..].char_indices();
    while let Some((at, c)) = characters.next() {
        if c == '\\' {
            characters.next();
        } else if c == quote {
            return Some(&body[at + 2..]);
        }
    }
    Some("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_at_their_colons() {
        assert_eq!(
            tokens("use a::{b, c_1 as d};"),
            "use a :: { b , c_1 as d } ;".split(' ').collect::<Vec<_>>()
        );
        assert_eq!(tokens("x: y"), ["x", ":", "y"]);
        assert_eq!(tokens("r#type::r"), ["type", "::", "r"]);
    }

    #[test]
    fn comments_are_left_out() {
        assert_eq!(tokens("a // b::c\n/* d /* e */ f */ g /// h"), ["a", "g"]);
        assert_eq!(tokens("a / b"), ["a", "/", "b"]);
    }

    #[test]
    fn literals_are_one_token() {
        for literal in
            [r#""a::b""#, r#""\"a""#, r##"r#"a"b"#"##, r#"b"a""#, r#"r"\""#, "'a'", r"'\''", "b'a'", "'\"'"]
        {
            assert_eq!(tokens(&format!("x {literal} y")), ["x", LITERAL, "y"], "{literal}");
        }
        assert_eq!(tokens("\"never closed"), [LITERAL]);
    }

    #[test]
    fn lifetimes_are_left_out() {
        assert_eq!(tokens("fn f<'a>(x: &'a str)"), ["fn", "f", "<", ">", "(", "x", ":", "&", "str", ")"]);
    }
}
