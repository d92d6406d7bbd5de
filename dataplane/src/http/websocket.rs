//! As much of WebSocket framing (RFC 6455 §5.2) as it takes to say goodbye between two frames.

use std::cell::Cell;

/// A Close frame from a server: 1001, going away (RFC 6455 §7.4.1).
pub(crate) const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];

/// Follows the frames of one direction, to know when a frame of our own may come in between.
#[derive(Debug, Default)]
pub(crate) struct Frames(Cell<At>);

/// The place in a frame of the last byte.
#[derive(Debug, Clone, Copy, Default)]
enum At {
    /// Between two frames.
    #[default]
    Boundary,
    /// After its first byte.
    Opcode,
    /// In its extended length.
    Length { left: u8, length: u64, masked: bool },
    /// In its mask and payload.
    Payload { left: u64 },
}

impl Frames {
    /// Takes note of bytes that were passed on.
    pub(crate) fn passed(&self, mut bytes: &[u8]) {
        let mut at = self.0.get();
        while let Some((&byte, rest)) = bytes.split_first() {
            at = match at {
                At::Payload { left } => {
                    let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.get(skipped..).unwrap_or_default();
                    payload(left - skipped as u64)
                }
                At::Boundary | At::Opcode | At::Length { .. } => {
                    bytes = rest;
                    next(at, byte)
                }
            };
        }
        self.0.set(at);
    }

    /// Returns whether the last byte ended a frame.
    #[must_use]
    pub(crate) fn at_boundary(&self) -> bool {
        matches!(self.0.get(), At::Boundary)
    }
}

fn next(at: At, byte: u8) -> At {
    match at {
        At::Boundary => At::Opcode,
        At::Opcode => {
            let masked = byte & 0x80 != 0;
            match byte & 0x7f {
                126 => At::Length { left: 2, length: 0, masked },
                127 => At::Length { left: 8, length: 0, masked },
                length => payload(u64::from(length) + mask(masked)),
            }
        }
        At::Length { left, length, masked } => {
            let length = (length << 8) | u64::from(byte);
            if left > 1 {
                return At::Length { left: left - 1, length, masked };
            }
            payload(length.saturating_add(mask(masked)))
        }
        At::Payload { left } => payload(left.saturating_sub(1)),
    }
}

fn mask(masked: bool) -> u64 {
    if masked { 4 } else { 0 }
}

fn payload(left: u64) -> At {
    if left == 0 { At::Boundary } else { At::Payload { left } }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x82];
        match length {
            0..126 => frame.push(mask | length as u8),
            126..0x1_0000 => {
                frame.push(mask | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.resize(frame.len() + length + if masked { 4 } else { 0 }, 0xff);
        frame
    }

    proptest! {
        #[test]
        fn boundaries_are_where_frames_end(
            lengths in proptest::collection::vec((prop_oneof![0usize..130, Just(126), Just(65_535), Just(65_536), Just(70_000)], any::<bool>()), 1..5),
            cut in 1usize..4000,
        ) {
            let frames = Frames::default();
            for (length, masked) in lengths {
                let bytes = frame(length, masked);
                let (last, all_but_last) = bytes.split_last().unwrap();
                for chunk in all_but_last.chunks(cut) {
                    frames.passed(chunk);
                    prop_assert!(!frames.at_boundary());
                }
                frames.passed(&[*last]);
                prop_assert!(frames.at_boundary());
            }
        }
    }
}
