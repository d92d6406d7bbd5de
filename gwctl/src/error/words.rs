//! What the API calls by the names of its params and methods, in gwctl's words.

use std::borrow::Cow;

use webgateway_proto::model::RouteOptions;

/// The flag that sets a param, which may be written as `backends[1]` too.
pub(super) fn flag_of(field: &str) -> Option<Cow<'static, str>> {
    let name = field.split(['[', '.']).next().unwrap_or(field);
    let flags = [
        ("fqdn", "-f/--fqdn"),
        ("subdomain", "-s/--subdomain"),
        ("backends", "-b/--backend"),
        ("balance", "-m/--method"),
        ("mode", "-t/--tls-pass"),
        ("id", "-r/--route"),
        ("host", "-f/--fqdn or -s/--subdomain"),
        ("user", "USER"),
        ("reason", "--reason"),
        ("until", "--until"),
        ("keyid", "-i/--id"),
        ("node", "NAME"),
        ("address", "--address"),
        ("ttl", "--ttl"),
    ];
    if let Some((_, flag)) = flags.iter().find(|(param, _)| *param == name) {
        return Some(Cow::Borrowed(flag));
    }
    // The flag of a route's option has its name.
    RouteOptions::NAMES.contains(&name).then(|| Cow::Owned(format!("--{}", name.replace('_', "-"))))
}

/// What a text calls by the names of params and methods, in flags and commands.
pub(crate) fn in_flags(text: &str) -> String {
    let words = [
        ("`fqdn`", "-f"),
        ("`subdomain`", "-s"),
        ("`routes.list`", "`gwctl routes list`"),
        ("`nodes.list`", "`gwctl nodes list`"),
        ("`nodes.remove`", "`gwctl nodes remove`"),
        ("`address`", "--address"),
        ("`routes.create`", "`gwctl routes create`"),
        ("`certificates.get`", "`gwctl certificates get -c HOST`"),
    ];
    words.iter().fold(text.to_owned(), |text, (param, flag)| text.replace(param, flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateways_words_become_gwctls() {
        assert_eq!(in_flags("give `fqdn` or `subdomain`"), "give -f or -s");
        assert_eq!(in_flags("`routes.list` shows your routes"), "`gwctl routes list` shows your routes");
    }

    #[test]
    fn a_param_is_named_by_its_flag() {
        assert_eq!(flag_of("backends[2]").as_deref(), Some("-b/--backend"));
        assert_eq!(flag_of("subdomain").as_deref(), Some("-s/--subdomain"));
        assert_eq!(flag_of("colour"), None);
    }
}
