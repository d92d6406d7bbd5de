//! The flags of `gwctl certificates …` as params of the API.

use webgateway_proto::api::CertificateRef;
use webgateway_proto::model::Host;

use super::InvalidArg;
use crate::cli;

/// `--certificate`
pub(super) fn reference(flags: &cli::Certificate) -> Result<CertificateRef, InvalidArg> {
    let id = Host::parse(&flags.certificate).map_err(InvalidArg::Certificate)?;
    Ok(CertificateRef { id: id.to_string() })
}
