//! The constants that several examples use.

use uuid::Uuid;

pub(super) const ROUTE: Uuid = Uuid::from_u128(0x019c_ade2_11c0_7d6f_8a3b_5c2d_9e4f_1a60);
pub(super) const USER: &str = "user1.pub";
pub(super) const BACKEND: &str = "[54f:b680:ba6e:7ced:355f:346f:d97b:eecb]:8080";
pub(super) const OTHER_BACKEND: &str = "[54f:b680:ba6e:7ced:355f:346f:d97b:eecb]:8081";
pub(super) const CREATED: &str = "2026-03-02T09:30:00.000Z";
pub(super) const UPDATED: &str = "2026-03-02T10:05:12.418Z";
pub(super) const NOT_AFTER: &str = "2026-05-31T09:31:07Z";
