//! The encodings of keys: PEM in all its layouts, and the DER inside.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::algorithm::InvalidKeyError;
use super::form::{PEM_BEGIN, PEM_END, RFC4716_BEGIN, RFC4716_END};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The OIDs `id-Ed25519` (RFC 8410 §3), `rsaEncryption` (RFC 8017 §A.1) and `id-RSASSA-PSS` (RFC 4055 §1.2), as DER
/// content.
pub(super) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
pub(super) const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
pub(super) const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];

/// The unsupported types of key by the content of their OIDs. Those of curves come first, because they are more
/// specific.
const OTHERS: &[(&[u8], &str)] = &[
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], "an ECDSA P-256 key"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x22], "an ECDSA P-384 key"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x23], "an ECDSA P-521 key"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x0a], "an ECDSA secp256k1 key"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01], "an elliptic-curve key"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01], "a DSA key"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x03, 0x01], "a Diffie-Hellman key"),
    (&[0x2b, 0x65, 0x71], "an Ed448 key"),
    (&[0x2b, 0x65, 0x6e], "an X25519 key"),
    (&[0x2b, 0x65, 0x6f], "an X448 key"),
];

/// Decodes the PEM block in `text`. Lines may have any width, any line ends and surrounding white space.
pub(super) fn from_pem(text: &str) -> Result<Zeroizing<Vec<u8>>, InvalidKeyError> {
    from_block(text, PEM_BEGIN, PEM_END)
}

/// Decodes the block of RFC 4716 in `text`, with the same tolerance as PEM.
pub(super) fn from_rfc4716(text: &str) -> Result<Zeroizing<Vec<u8>>, InvalidKeyError> {
    from_block(text, RFC4716_BEGIN, RFC4716_END)
}

fn from_block(text: &str, begin: &str, end: &str) -> Result<Zeroizing<Vec<u8>>, InvalidKeyError> {
    let mut base64 = Zeroizing::new(String::with_capacity(text.len()));
    let mut lines = text.lines().map(str::trim).skip_while(|line| !line.starts_with(begin)).skip(1);
    let (mut has_end, mut is_header) = (false, false);
    for line in lines.by_ref() {
        let goes_on = is_header;
        is_header = (goes_on || line.contains(':')) && line.ends_with('\\');
        match line {
            _ if line.starts_with(end) => {
                has_end = true;
                break;
            }
            // A header of RFC 4716 may continue on the next lines.
            _ if goes_on => {}
            // Older tools write headers of RFC 1421.
            _ if line.starts_with("Proc-Type:") && line.contains("ENCRYPTED") => {
                return Err(InvalidKeyError::Encrypted);
            }
            _ if line.contains(':') => {}
            _ => base64.extend(line.chars().filter(|letter| !letter.is_whitespace())),
        }
    }
    if !has_end {
        return Err(InvalidKeyError::Unfinished);
    }
    BASE64.decode(base64.as_bytes()).map(Zeroizing::new).map_err(|_| InvalidKeyError::Damaged)
}

/// A DER value.
#[derive(Debug, Clone, Copy)]
struct Value<'a> {
    tag: u8,
    content: &'a [u8],
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// Reads the first value and advances `input` past it.
fn take<'a>(input: &mut &'a [u8]) -> Option<Value<'a>> {
    let [tag, length, rest @ ..] = *input else { return None };
    let (length, rest) = match usize::from(*length) {
        short @ 0..=0x7f => (short, rest),
        long @ 0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(long - 0x80)?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *input = rest;
    Some(Value { tag: *tag, content })
}

fn expect<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    take(input).filter(|value| value.tag == tag).map(|value| value.content)
}

/// An encoded key with the type that its algorithm identifier states.
pub(super) struct TypedKey<'a> {
    /// The content of the algorithm's OID.
    pub(super) algorithm: &'a [u8],
    /// A description of the type, if it is not supported.
    pub(super) foreign: Option<&'static str>,
    /// The key itself, in the encoding of its type.
    pub(super) key: &'a [u8],
    /// The bytes after a private key: attributes and the public half.
    pub(super) rest: &'a [u8],
}

impl<'a> TypedKey<'a> {
    /// Reads a `SubjectPublicKeyInfo` (RFC 5280 §4.1).
    pub(super) fn public(der: &'a [u8]) -> Result<Self, InvalidKeyError> {
        Self::read_public(der).ok_or(InvalidKeyError::Damaged)
    }

    /// Reads a `OneAsymmetricKey` of either version (RFC 5958 §2). The bytes after the private key are not checked,
    /// because tools encode the public half differently.
    pub(super) fn private(der: &'a [u8]) -> Result<Self, InvalidKeyError> {
        Self::read_private(der).ok_or(InvalidKeyError::Damaged)
    }

    fn read_public(mut der: &'a [u8]) -> Option<Self> {
        let mut info = expect(&mut der, SEQUENCE)?;
        let algorithm = expect(&mut info, SEQUENCE)?;
        // The first byte is the number of unused bits.
        let key = expect(&mut info, BIT_STRING)?.strip_prefix(&[0])?;
        Self::new(algorithm, key, info)
    }

    fn read_private(mut der: &'a [u8]) -> Option<Self> {
        let mut info = expect(&mut der, SEQUENCE)?;
        expect(&mut info, INTEGER)?;
        let algorithm = expect(&mut info, SEQUENCE)?;
        let key = expect(&mut info, OCTET_STRING)?;
        Self::new(algorithm, key, info)
    }

    fn new(mut algorithm: &'a [u8], key: &'a [u8], rest: &'a [u8]) -> Option<Self> {
        let name = expect(&mut algorithm, OBJECT_IDENTIFIER)?;
        // Elliptic-curve keys name their curve.
        let curve = expect(&mut algorithm, OBJECT_IDENTIFIER).unwrap_or_default();
        let is_ours = [ED25519, RSA_ENCRYPTION, RSASSA_PSS].contains(&name);
        let other = OTHERS.iter().find(|(oid, _)| *oid == curve || *oid == name);
        let foreign = (!is_ours).then(|| other.map_or("a key of another type", |(_, words)| words));
        Some(Self { algorithm: name, foreign, key, rest })
    }
}

/// Encodes a `SubjectPublicKeyInfo` (RFC 5280 §4.1) of an algorithm without parameters.
pub(super) fn public(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let algorithm = write(SEQUENCE, &[&write(OBJECT_IDENTIFIER, &[algorithm])]);
    // The first byte is the number of unused bits.
    write(SEQUENCE, &[&algorithm, &write(BIT_STRING, &[&[0], key])]).to_vec()
}

/// Encodes a `OneAsymmetricKey` (RFC 5958 §2) of an algorithm without parameters. The result is wiped when dropped.
pub(super) fn private(algorithm: &[u8], key: &[u8]) -> Zeroizing<Vec<u8>> {
    let algorithm = write(SEQUENCE, &[&write(OBJECT_IDENTIFIER, &[algorithm])]);
    write(SEQUENCE, &[&write(INTEGER, &[&[0]]), &algorithm, &write(OCTET_STRING, &[key])])
}

/// Encodes a DER value, which is wiped when dropped.
fn write(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = length.to_be_bytes();
    let digits: &[u8] = bytes.get(length.leading_zeros() as usize / 8..).unwrap_or_default();
    let mut value = Zeroizing::new(Vec::with_capacity(2 + digits.len() + length));
    value.push(tag);
    if length > 0x7f {
        value.push(0x80 | digits.len() as u8);
    }
    value.extend_from_slice(if length == 0 { &[0] } else { digits });
    parts.iter().for_each(|part| value.extend_from_slice(part));
    value
}

/// Returns the seed of an ed25519 private key (RFC 8410 §7).
pub(super) fn ed25519_seed(mut key: &[u8]) -> Option<[u8; 32]> {
    expect(&mut key, OCTET_STRING)?.try_into().ok()
}

/// Returns whether a public half follows a private key: a value `[1]`, primitive as in RFC 5958, or constructed.
pub(super) fn has_public_half(mut rest: &[u8]) -> bool {
    std::iter::from_fn(|| take(&mut rest)).any(|value| value.tag == 0x81 || value.tag == 0xa1)
}
