//! What the API calls by the names of its params and methods, in gwctl's words.

/// The flag that sets a param, which may be written as `backends[1]` too.
pub(super) fn flag_of(field: &str) -> Option<&'static str> {
    let name = field.split(['[', '.']).next().unwrap_or(field);
    let flags = [
        ("fqdn", "-f/--fqdn"),
        ("subdomain", "-s/--subdomain"),
        ("backends", "-b/--backend"),
        ("balance", "-m/--method"),
        ("mode", "-t/--tls-pass"),
        ("health", "--health"),
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
    flags.iter().find(|(param, _)| *param == name).map(|(_, flag)| *flag)
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
        assert_eq!(flag_of("backends[2]"), Some("-b/--backend"));
        assert_eq!(flag_of("subdomain"), Some("-s/--subdomain"));
        assert_eq!(flag_of("colour"), None);
    }
}
