//! The files and directories that a dataplane needs.

use webgateway_process::{FileCheck, FileCheckError};

use crate::config::{Config, Endpoint};

/// Returns the files and directories with which the process could not run.
pub(crate) fn problems(config: &Config) -> Vec<FileCheckError> {
    let feed = config.feed_endpoints.iter().filter_map(|endpoint| match endpoint {
        Endpoint::File(path) => Some(FileCheck("feed.endpoint").readable_file(path)),
        // The controlplane creates its socket, perhaps later.
        Endpoint::Unix(_) | Endpoint::Remote(_) => None,
    });
    let cache = config.cache_dir.iter().map(|dir| FileCheck("cache_dir").creatable_directory(dir));
    let state = config.may_be_remote().then(|| FileCheck("state_dir").creatable_directory(&config.state_dir));
    feed.chain(cache).chain(state).filter_map(Result::err).collect()
}
