//! The order of every crate's modules, leaf first.

/// One crate.
#[derive(Debug)]
pub(crate) struct Layers {
    /// Its folder of sources.
    pub(crate) src: &'static str,
    /// Its modules: each imports only what stands before it. What is not named counts as its parent.
    pub(crate) modules: &'static [&'static str],
}

impl Layers {
    /// The place of the module a path leads into, and that module; none outside the order.
    pub(crate) fn rank(&self, path: &str) -> Option<(usize, &'static str)> {
        let leads_into = |module: &str| {
            path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let ranked = self.modules.iter().copied().enumerate().filter(|(_, module)| leads_into(module));
        ranked.max_by_key(|(_, module)| module.len())
    }
}

pub(crate) const CRATES: &[Layers] = &[
    Layers { src: "proto/src", modules: &["model", "feed", "httpsig", "api"] },
    Layers {
        src: "proto/process/src",
        modules: &["settings", "log", "notify", "bind", "stop", "tasks", "signals", "readiness", "admin"],
    },
    Layers {
        src: "controlplane/src",
        modules: &[
            "config",
            "metrics",
            "clock",
            "seal",
            "store::error",
            "store::schema",
            "store::transaction",
            "store::open",
            "store::coverage",
            "store::nonces",
            "store::routes",
            "store::users",
            "store::audit",
            "store::change",
            "store::certificates",
            "store::feed",
            "store",
            "domain",
            "api::keys",
            "api::nonces",
            "api::auth",
            "api::jsonrpc",
            "api::fault",
            "api::methods",
            "api::openrpc",
            "api::handle",
            "api::server",
            "api",
            "feed::catalog",
            "feed::diff",
            "feed::session",
            "feed::nodes",
            "feed::load",
            "feed::preface",
            "feed::socket",
            "feed::server",
            "feed",
            "dns::txt",
            "dns::zone",
            "dns::server",
            "dns",
            "reconcile",
            "certs::schedule",
            "certs::internal",
            "certs::issuer",
            "certs::task",
            "certs",
            "app",
        ],
    },
    Layers {
        src: "tests/src",
        modules: &[
            "clock",
            "wait",
            "netns",
            "process",
            "scene",
            "authority",
            "client",
            "websocket",
            "backend",
            "feed_file",
            "gateway",
            "controller",
            "gwctl",
            "signer",
            "story",
        ],
    },
];
