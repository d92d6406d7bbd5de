//! The keys that one name stands for: more than one while a key is replaced.

use super::{InvalidKey, PublicKey};

/// How many keys one name may stand for.
const MAX_KEYS: usize = 16;

/// The keys of one name, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeys(Vec<PublicKey>);

impl PublicKeys {
    /// Parses one key in any form, or several: PEM blocks one after the other, or one key a line as in
    /// `authorized_keys`, without options. Lines that are empty or begin with `#` do not count.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let mut keys = Vec::new();
        let mut block: Option<String> = None;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let within = block.get_or_insert_default();
            within.push_str(line);
            within.push('\n');
            let is_pem = within.starts_with("-----BEGIN ");
            if is_pem && !line.starts_with("-----END ") {
                continue;
            }
            if keys.len() == MAX_KEYS {
                return Err(InvalidKey::TooMany);
            }
            keys.push(PublicKey::parse(&block.take().unwrap_or_default())?);
        }
        match block {
            // A block that does not end.
            Some(_) => Err(InvalidKey::Form),
            None if keys.is_empty() => Err(InvalidKey::Empty),
            None => Ok(Self(keys)),
        }
    }

    /// Each of them, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.iter()
    }
}

impl From<PublicKey> for PublicKeys {
    fn from(key: PublicKey) -> Self {
        Self(vec![key])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_several_are_read() {
        let rsa = include_str!("../samples/rsa.pub");
        let ssh = include_str!("../samples/ed25519.ssh.pub");
        let (first, second) = (PublicKey::parse(rsa).unwrap(), PublicKey::parse(ssh).unwrap());
        assert_eq!(PublicKeys::parse(rsa), Ok(first.clone().into()));
        for text in [format!("{rsa}{ssh}"), format!("# old\n\n{rsa}\n# new\r\n{ssh}\n")] {
            assert_eq!(PublicKeys::parse(&text), Ok(PublicKeys(vec![first.clone(), second.clone()])));
        }
        let lines = format!("{}\n{ssh}", include_str!("../samples/rsa.ssh.pub"));
        assert_eq!(PublicKeys::parse(&lines).unwrap().iter().count(), 2);
    }

    #[test]
    fn one_bad_key_spoils_the_file() {
        let ssh = include_str!("../samples/ed25519.ssh.pub");
        assert_eq!(PublicKeys::parse("# nothing\n"), Err(InvalidKey::Empty));
        assert_eq!(PublicKeys::parse(&format!("{ssh}nonsense!")), Err(InvalidKey::Form));
        assert_eq!(PublicKeys::parse(&format!("from=\"10.0.0.0/8\" {ssh}")), Err(InvalidKey::Form));
        assert_eq!(PublicKeys::parse("-----BEGIN PUBLIC KEY-----\nMIIB"), Err(InvalidKey::Form));
        assert_eq!(PublicKeys::parse(&ssh.repeat(MAX_KEYS + 1)), Err(InvalidKey::TooMany));
    }
}
