//! TLS session tickets, encrypted with the keys that all nodes of a gateway share.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use rustls::server::ProducesTickets;
use webgateway_proto::feed::TicketKeys;
use zeroize::Zeroizing;

/// The lifetime of a ticket that clients are advised of, in seconds. The key of a ticket is dropped after two
/// rotations, within 12 h.
const LIFETIME: u32 = 12 * 3600;
/// The length of a key's name, in bytes.
const NAME_LEN: usize = 16;

/// The encryption of tickets. A ticket is the name of its key (16 bytes), the nonce, and the encrypted state with its
/// tag.
///
/// Before the controlplane has sent the shared keys, keys of this process are used; tickets under these stay valid.
#[derive(Debug)]
pub(crate) struct Tickets {
    shared: ArcSwapOption<Vec<AeadKey>>,
    own: Arc<dyn ProducesTickets>,
}

struct AeadKey {
    name: [u8; NAME_LEN],
    seal: RandomizedNonceKey,
}

impl std::fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AeadKey(…)")
    }
}

impl Tickets {
    /// Returns an encryption that uses keys of this process until [`Tickets::share`] is called.
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        Ok(Self { shared: ArcSwapOption::empty(), own: rustls::crypto::aws_lc_rs::Ticketer::new()? })
    }

    /// Replaces the shared keys: the first one encrypts tickets, all of them decrypt.
    pub(crate) fn share(&self, keys: &TicketKeys) {
        let key = |name: [u8; NAME_LEN], secret: &Zeroizing<[u8; 32]>| {
            let seal = RandomizedNonceKey::new(&AES_256_GCM, secret.as_slice()).ok()?;
            Some(AeadKey { name, seal })
        };
        let keys: Option<Vec<AeadKey>> = keys.0.iter().map(|k| key(k.name, &k.secret)).collect();
        // `None` does not happen: the library accepts every key of this length.
        if let Some(keys) = keys.filter(|keys| !keys.is_empty()) {
            self.shared.store(Some(Arc::new(keys)));
        }
    }
}

impl AeadKey {
    fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut text = Zeroizing::new(plain.to_vec());
        let (nonce, tag) = self.seal.seal_in_place_separate_tag(Aad::from(self.name), &mut text).ok()?;
        Some([self.name.as_slice(), nonce.as_ref().as_slice(), &text, tag.as_ref()].concat())
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let opened = self.seal.open_in_place(Nonce::from(nonce), Aad::from(self.name), &mut text).ok()?.len();
        text.truncate(opened);
        Some(text)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        match self.shared.load().as_ref().and_then(|keys| keys.first()) {
            Some(key) => key.seal(plain),
            None => self.own.encrypt(plain),
        }
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let shared = self.shared.load();
        let by_name = |(name, rest): (&[u8; NAME_LEN], &[u8])| {
            let key = shared.as_ref()?.iter().find(|key| key.name == *name)?;
            Some(key.open(rest))
        };
        match cipher.split_first_chunk::<NAME_LEN>().and_then(by_name) {
            Some(opened) => opened,
            None => self.own.decrypt(cipher),
        }
    }
}

#[cfg(test)]
mod tests {
    use webgateway_proto::feed::TicketKey;

    use super::*;

    fn keys(names: &[u8]) -> TicketKeys {
        let one = |n: &u8| TicketKey { name: [*n; 16], secret: Zeroizing::new([*n; 32]) };
        TicketKeys(names.iter().map(one).collect())
    }

    fn node(names: &[u8]) -> Tickets {
        let tickets = Tickets::new().unwrap();
        tickets.share(&keys(names));
        tickets
    }

    #[test]
    fn a_ticket_is_decrypted_by_every_node_with_its_key_in_any_position() {
        let ticket = node(&[2, 3, 1]).encrypt(b"state").unwrap();
        assert_eq!(ticket.len(), 16 + NONCE_LEN + 5 + 16);
        for names in [&[2, 3, 1][..], &[1, 2, 0], &[3, 4, 2]] {
            assert_eq!(node(names).decrypt(&ticket).as_deref(), Some(b"state".as_slice()), "{names:?}");
        }
        assert_eq!(node(&[4, 5, 3]).decrypt(&ticket), None);
    }

    #[test]
    fn a_modified_or_truncated_ticket_is_rejected() {
        let tickets = node(&[1]);
        let ticket = tickets.encrypt(b"state").unwrap();
        for i in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[i] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None, "byte {i}");
            assert_eq!(tickets.decrypt(&ticket[..i]), None, "cut at {i}");
        }
    }

    #[test]
    fn tickets_under_the_keys_of_the_process_are_decrypted_before_and_after_keys_are_shared() {
        let tickets = Tickets::new().unwrap();
        let ticket = tickets.encrypt(b"state").unwrap();
        assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(b"state".as_slice()));
        tickets.share(&keys(&[1]));
        assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(b"state".as_slice()));
        assert!(!format!("{tickets:?}").contains("1, 1"), "the output must not contain keys");
    }
}
