//! What the controlplane was told of the backends' health, and what is new. Pure.

use std::sync::Arc;

use webgateway_proto::feed::BackendHealth;

use crate::backend::down::Down;

/// How many backends one message names.
const AT_ONCE: usize = 500;

/// What was told on one stream.
#[derive(Debug, Default)]
pub(super) struct Told(Arc<Down>);

impl Told {
    /// What has changed since, in messages of bounded size.
    pub(super) fn news(&mut self, now: &Arc<Down>) -> Vec<Vec<BackendHealth>> {
        if Arc::ptr_eq(&self.0, now) {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.0, Arc::clone(now));
        let known = |backend, reason: &str| before.first_reason(backend) == Some(reason);
        let out = now.iter().filter(|(backend, reason)| !known(*backend, reason));
        let out = out.map(|(backend, reason)| BackendHealth { backend, down: Some(reason.to_owned()) });
        let back = before.iter().filter(|(backend, _)| now.first_reason(*backend).is_none());
        let back = back.map(|(backend, _)| BackendHealth { backend, down: None });
        let changed: Vec<BackendHealth> = out.chain(back).collect();
        changed.chunks(AT_ONCE).map(<[_]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::down::Subject;

    #[test]
    fn the_first_names_all_and_what_follows_the_difference() {
        let subject =
            |n: usize| Subject { backend: format!("[400::{n:x}]:80").parse().unwrap(), check: None };
        let mut down = Down::default();
        (1..=1200).for_each(|n| down.insert(&subject(n), "refused"));
        let mut told = Told::default();
        assert!(told.news(&Arc::default()).is_empty());
        let first = told.news(&Arc::new(down.clone()));
        let sizes: Vec<usize> = first.iter().map(Vec::len).collect();
        assert_eq!(sizes, [500, 500, 200]);
        assert!(told.news(&Arc::new(down.clone())).is_empty());
        down.remove(&subject(7));
        down.insert(&subject(8), "timeout");
        let mut news = told.news(&Arc::new(down)).concat();
        news.sort_by_key(|health| health.backend);
        let expected = [(7, None), (8, Some("timeout".to_owned()))];
        assert_eq!(news, expected.map(|(n, down)| BackendHealth { backend: subject(n).backend, down }));
    }
}
