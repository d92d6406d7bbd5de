//! A limit on the lines of one route per second.

use webgateway_proto::feed::LINES_PER_SECOND;

/// The lines of one route in the current second.
#[derive(Debug, Default)]
pub(super) struct LineBudget {
    second: i64,
    spent: u32,
}

impl LineBudget {
    /// Returns whether one more line may be sent in this second (Unix time), and counts it.
    pub(super) fn spend(&mut self, second: i64) -> bool {
        if self.second != second {
            *self = Self { second, spent: 0 };
        }
        let is_allowed = self.spent < LINES_PER_SECOND;
        self.spent += u32::from(is_allowed);
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_has_its_own_lines() {
        let mut budget = LineBudget::default();
        for second in [7, 8, 5] {
            let allowed = (0..LINES_PER_SECOND * 3).filter(|_| budget.spend(second)).count();
            assert_eq!(allowed, LINES_PER_SECOND as usize, "a clock may also be set back");
        }
    }
}
