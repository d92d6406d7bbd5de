//! Lists of client networks.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::words::Describe;

/// The maximum number of networks in a list.
pub const MAX_NETWORKS: usize = 256;

/// A list of at most [`MAX_NETWORKS`] IP networks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
#[schemars(with = "Vec<String>")]
pub struct Networks(Box<[IpNet]>);

/// A text that is not an IP network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not an IP network: write one such as 203.0.113.0/24 or 2001:db8::/32, or a single address")]
pub struct InvalidNetworkError(String);

/// A list that is not a valid [`Networks`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidNetworksError {
    /// An entry is not a network.
    #[error(transparent)]
    Network(#[from] InvalidNetworkError),
    /// There are too many entries.
    #[error("{0} networks given, at most {MAX_NETWORKS} are allowed")]
    TooMany(usize),
}

impl Networks {
    /// Makes a list of these networks. Host bits are cleared and duplicates removed.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Result<Self, InvalidNetworksError> {
        let mut unique = Vec::new();
        for network in networks.into_iter().map(|network| network.trunc()) {
            if !unique.contains(&network) {
                unique.push(network);
            }
            if unique.len() > MAX_NETWORKS {
                return Err(InvalidNetworksError::TooMany(unique.len()));
            }
        }
        Ok(Self(unique.into()))
    }

    /// Parses one network, or an address, which is a network with one member.
    pub fn parse_one(text: &str) -> Result<IpNet, InvalidNetworkError> {
        let address = || text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        text.parse::<IpNet>().or_else(|_| address()).map_err(|_| InvalidNetworkError(text.to_owned()))
    }

    pub(super) fn sample(networks: &[&str]) -> Self {
        Self(networks.iter().filter_map(|text| text.parse().ok()).collect())
    }

    /// Returns whether the list has no networks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether an address is inside one of the networks. An IPv4 address may be mapped to IPv6.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl TryFrom<Vec<String>> for Networks {
    type Error = InvalidNetworksError;

    fn try_from(texts: Vec<String>) -> Result<Self, Self::Error> {
        if texts.len() > MAX_NETWORKS {
            return Err(InvalidNetworksError::TooMany(texts.len()));
        }
        let networks: Vec<IpNet> =
            texts.iter().map(|text| Self::parse_one(text)).collect::<Result<_, _>>()?;
        Self::new(networks)
    }
}

impl From<Networks> for Vec<String> {
    fn from(networks: Networks) -> Self {
        networks.0.iter().map(IpNet::to_string).collect()
    }
}

impl Describe for Networks {
    fn describe(&self) -> String {
        if self.is_empty() {
            return "none".to_owned();
        }
        Vec::from(self.clone()).join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Result<Networks, InvalidNetworksError> {
        texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>().try_into()
    }

    #[test]
    fn networks_are_parsed_in_any_spelling_and_have_one() {
        for (text, canonical) in [
            ("203.0.113.7", "203.0.113.7/32"),
            ("203.0.113.7/24", "203.0.113.0/24"),
            ("::ffff:203.0.113.7", "203.0.113.7/32"),
            ("2001:DB8::1/32", "2001:db8::/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(networks(&[text]).unwrap().describe(), canonical, "{text}");
        }
        for text in ["", "example.org", "203.0.113.7/33", "203.0.113", "2001:db8::/129", "10/8"] {
            assert!(networks(&[text]).unwrap_err().to_string().contains(&format!("`{text}`")), "{text}");
        }
        assert_eq!(networks(&["::1", "::1/128"]).unwrap().describe(), "::1/128");
        assert_eq!(
            networks(&["::1"; MAX_NETWORKS + 1]),
            Err(InvalidNetworksError::TooMany(MAX_NETWORKS + 1))
        );
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        let list = networks(&["203.0.113.0/24"]).unwrap();
        for (address, is_member) in
            [("203.0.113.9", true), ("::ffff:203.0.113.9", true), ("203.0.114.1", false), ("::1", false)]
        {
            assert_eq!(list.contain(address.parse().unwrap()), is_member, "{address}");
        }
    }
}
