//! WebSocket framing (RFC 6455 §5.2), as far as it is needed to send a Close frame between two frames.

use std::cell::Cell;

/// A Close frame of a server with the status 1001, going away (RFC 6455 §7.4.1).
pub(crate) const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];

/// A tracker of frame boundaries in one direction. The gateway may insert a frame only at a boundary.
#[derive(Debug, Default)]
pub(crate) struct FrameTracker(Cell<FramePosition>);

/// The position of the last byte in a frame.
#[derive(Debug, Clone, Copy, Default)]
enum FramePosition {
    /// Between two frames.
    #[default]
    Boundary,
    /// After the first byte of a frame.
    Opcode,
    /// In the extended length.
    Length { left: u8, length: u64, masked: bool },
    /// In the mask or the payload.
    Payload { left: u64 },
}

impl FrameTracker {
    /// Records bytes that were sent.
    pub(crate) fn record(&self, mut bytes: &[u8]) {
        let mut at = self.0.get();
        while let Some((&byte, rest)) = bytes.split_first() {
            at = match at {
                FramePosition::Payload { left } => {
                    let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.get(skipped..).unwrap_or_default();
                    payload_position(left - skipped as u64)
                }
                FramePosition::Boundary | FramePosition::Opcode | FramePosition::Length { .. } => {
                    bytes = rest;
                    advance(at, byte)
                }
            };
        }
        self.0.set(at);
    }

    /// Returns whether the last byte ended a frame.
    #[must_use]
    pub(crate) fn is_at_boundary(&self) -> bool {
        matches!(self.0.get(), FramePosition::Boundary)
    }
}

fn advance(at: FramePosition, byte: u8) -> FramePosition {
    match at {
        FramePosition::Boundary => FramePosition::Opcode,
        FramePosition::Opcode => {
            let masked = byte & 0x80 != 0;
            match byte & 0x7f {
                126 => FramePosition::Length { left: 2, length: 0, masked },
                127 => FramePosition::Length { left: 8, length: 0, masked },
                length => payload_position(u64::from(length) + mask_length(masked)),
            }
        }
        FramePosition::Length { left, length, masked } => {
            let length = (length << 8) | u64::from(byte);
            if left > 1 {
                return FramePosition::Length { left: left - 1, length, masked };
            }
            payload_position(length.saturating_add(mask_length(masked)))
        }
        FramePosition::Payload { left } => payload_position(left.saturating_sub(1)),
    }
}

fn mask_length(masked: bool) -> u64 {
    if masked { 4 } else { 0 }
}

fn payload_position(left: u64) -> FramePosition {
    if left == 0 { FramePosition::Boundary } else { FramePosition::Payload { left } }
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
            let frames = FrameTracker::default();
            for (length, masked) in lengths {
                let bytes = frame(length, masked);
                let (last, all_but_last) = bytes.split_last().unwrap();
                for chunk in all_but_last.chunks(cut) {
                    frames.record(chunk);
                    prop_assert!(!frames.is_at_boundary());
                }
                frames.record(&[*last]);
                prop_assert!(frames.is_at_boundary());
            }
        }
    }
}
