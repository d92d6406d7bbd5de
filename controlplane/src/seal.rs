//! Private keys at rest, in the database: sealed under the operator's `secret_key_file`.

pub(crate) use webgateway_seal::{SecretKey, SecretKeyError};
