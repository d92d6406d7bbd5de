//! The translation of the API's param and method names into gwctl's flags and commands.

use std::borrow::Cow;

use webgateway_proto::model::RouteOptions;

/// Returns the flag that sets a param. The param may have an index, such as `backends[1]`.
pub(super) fn flag_of_param(field: &str) -> Option<Cow<'static, str>> {
    let name = field.split(['[', '.']).next().unwrap_or(field);
    let flags = [
        ("fqdn", "-f/--fqdn"),
        ("subdomain", "-s/--subdomain"),
        ("backends", "-b/--backend"),
        ("balance", "-m/--method"),
        ("mode", "-t/--tls-pass"),
        ("id", "ROUTE"),
        ("host", "-f/--fqdn or -s/--subdomain"),
        ("user", "USER"),
        ("reason", "--reason"),
        ("until", "--until"),
        ("keyid", "-i/--id"),
        ("node", "NAME"),
        ("address", "--address"),
        ("ttl", "--ttl"),
        ("auth", "--auth-basic or --auth-forward"),
        ("backend_tls", "--backend-tls-server-name, --backend-tls-ca or --backend-tls-insecure"),
        ("headers", "--headers-request-* or --headers-response-*"),
    ];
    if let Some((_, flag)) = flags.iter().find(|(param, _)| *param == name) {
        return Some(Cow::Borrowed(flag));
    }
    // Every other route option has a flag of the same name, or one for each of its fields.
    let flag = if name == "timeouts" { field } else { name };
    RouteOptions::NAMES.contains(&name).then(|| Cow::Owned(format!("--{}", flag.replace(['_', '.'], "-"))))
}

/// Replaces the names of params and methods in a message of the API with flags and commands.
pub(crate) fn params_to_flags(text: &str) -> String {
    let replacements = [
        ("`fqdn`", "-f"),
        ("`subdomain`", "-s"),
        ("`routes.list`", "`gwctl routes list`"),
        ("`nodes.list`", "`gwctl nodes list`"),
        ("`nodes.remove`", "`gwctl nodes remove`"),
        ("`address`", "--address"),
        ("`routes.create`", "`gwctl routes create`"),
        ("`certificates.get`", "`gwctl certificates get -c HOST`"),
    ];
    replacements.iter().fold(text.to_owned(), |text, (name, flag)| text.replace(name, flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_and_methods_become_flags_and_commands() {
        assert_eq!(params_to_flags("give `fqdn` or `subdomain`"), "give -f or -s");
        assert_eq!(
            params_to_flags("`routes.list` shows your routes"),
            "`gwctl routes list` shows your routes"
        );
    }

    #[test]
    fn a_param_has_a_flag() {
        assert_eq!(flag_of_param("backends[2]").as_deref(), Some("-b/--backend"));
        assert_eq!(flag_of_param("subdomain").as_deref(), Some("-s/--subdomain"));
        assert_eq!(flag_of_param("timeouts.first_byte").as_deref(), Some("--timeouts-first-byte"));
        assert_eq!(flag_of_param("retries.attempts").as_deref(), Some("--retries"));
        assert_eq!(flag_of_param("colour"), None);
    }
}
