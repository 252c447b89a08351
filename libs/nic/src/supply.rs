//! Whose buffers the card gets to receive into.
//!
//! While two stacks are served, a frame can come into a buffer of the one and be for the other, which needs a free buffer for the copy.
//! So the card gets no buffer that would leave a stack with fewer free ones than the card has of others: a burst waits with the card, and
//! in a buffer of the wrong stack it would be lost. Frames from this machine and ARP replies take free buffers without being asked for
//! here. It moves no buffer, it says whose is next.

/// Buffers that the card may have at once. The rest is for frames from this machine.
pub const CARD_BUFFERS: usize = 192;
/// So many buffers the card gets though a stack is short of them: one that hangs stops nobody.
pub const LEAST: usize = 32;

/// Where a stack's buffers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// Buffers that neither it nor the card has; `None` of a stack that no flow and no other frame is steered to.
    pub free: Option<usize>,
    /// Buffers that the card has.
    pub with_card: usize,
}

/// Whether the card gets one more buffer of stack `number`.
#[must_use]
pub fn may_give(stocks: &[Stock], number: usize) -> bool {
    let all: usize = stocks.iter().map(|stock| stock.with_card).sum();
    let has_room = |stock: &Stock| stock.free.is_none_or(|free| free > all - stock.with_card);
    stocks.get(number).is_some_and(|stock| {
        let is_served = stock.free.is_some() && all < CARD_BUFFERS && has_room(stock);
        is_served && (all < LEAST || stocks.iter().all(has_room))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::RX_SLOTS;
    use proptest::prelude::*;

    /// Stacks, and what each has not consumed yet. The last one has left.
    #[derive(Clone, Debug)]
    struct Model {
        stocks: [Stock; 3],
        unread: [usize; 3],
        /// Buffers that the card got though a stack was short of them.
        forced: usize,
        /// Frames that found no free buffer at their stack.
        lost: usize,
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        /// A frame for one stack comes into a buffer of another, if the card has one.
        Frame { buffer_of: usize, target: usize },
        /// A stack consumes some frames.
        Consume { stack: usize, count: usize },
    }

    impl Model {
        fn new(is_second_served: bool, of_the_left: usize) -> Self {
            let served = Stock { free: Some(RX_SLOTS), with_card: 0 };
            let second = if is_second_served { served } else { Stock::default() };
            let stocks = [served, second, Stock { free: None, with_card: of_the_left }];
            Self { stocks, unread: [0; 3], forced: 0, lost: 0 }
        }

        /// Whether a stack has no more free buffers than the card has of others, and how many the card has of all.
        fn is_short(&self, number: usize) -> (bool, usize) {
            let all = self.stocks.iter().map(|stock| stock.with_card).sum();
            let Stock { free, with_card } = self.stocks[number];
            (free.is_some_and(|free| free <= all - with_card), all)
        }

        fn refill(&mut self) {
            for number in 0..3 {
                while may_give(&self.stocks, number) {
                    let (is_short, all) = self.is_short(number);
                    assert!(!is_short, "{number} gives what it needs: {self:?}");
                    if (0..3).any(|other| self.is_short(other).0) {
                        assert!(all < LEAST, "{number} gives though another is short: {self:?}");
                        self.forced += 1;
                    }
                    self.stocks[number].with_card += 1;
                    *self.stocks[number].free.as_mut().unwrap() -= 1;
                }
            }
        }

        fn apply(&mut self, event: Event) {
            match event {
                Event::Frame { buffer_of, target } => {
                    if self.stocks[buffer_of].with_card == 0 || self.stocks[target].free.is_none() {
                        return;
                    }
                    self.stocks[buffer_of].with_card -= 1;
                    if buffer_of != target {
                        if let Some(free) = &mut self.stocks[buffer_of].free {
                            *free += 1;
                        }
                        match self.stocks[target].free.as_mut().unwrap() {
                            0 => return self.lost += 1,
                            free => *free -= 1,
                        }
                    }
                    self.unread[target] += 1;
                }
                Event::Consume { stack, count } => {
                    let Some(free) = &mut self.stocks[stack].free else { return };
                    let count = count.min(self.unread[stack]);
                    self.unread[stack] -= count;
                    *free += count;
                }
            }
        }
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            8 => (0..3usize, 0..2usize).prop_map(|(buffer_of, target)| Event::Frame { buffer_of, target }),
            1 => (0..2usize, 1..RX_SLOTS).prop_map(|(stack, count)| Event::Consume { stack, count }),
        ]
    }

    proptest! {
        /// However frames come and stacks lag, no more of them are lost than came into buffers that the card got so as not to be empty.
        #[test]
        fn a_frame_in_another_stacks_buffer_finds_room(
            of_the_left in 0..=CARD_BUFFERS,
            events in proptest::collection::vec(event(), 1..3000),
        ) {
            let mut model = Model::new(true, of_the_left);
            for event in events {
                model.refill();
                model.apply(event);
                prop_assert!(model.lost <= model.forced, "{model:?}");
            }
        }
    }

    #[test]
    fn a_stack_alone_gives_all_that_the_card_may_have() {
        let mut model = Model::new(false, 0);
        model.refill();
        assert_eq!(model.stocks[0], Stock { free: Some(RX_SLOTS - CARD_BUFFERS), with_card: CARD_BUFFERS });
        // Down to its last one.
        let last = Stock { free: Some(1), with_card: 3 };
        assert!(may_give(&[last], 0) && !may_give(&[Stock { free: Some(0), ..last }], 0));
    }

    #[test]
    fn a_stack_that_hangs_stops_nobody() {
        let mut model = Model::new(true, 0);
        for _ in 0..100_000 {
            model.refill();
            let buffer_of = usize::from(model.stocks[0].with_card == 0);
            model.apply(Event::Frame { buffer_of, target: 0 });
        }
        assert!(model.lost > 0, "{model:?}");
        assert_eq!(model.stocks[1].with_card, LEAST - 1);
    }

    #[test]
    fn what_one_stack_has_not_read_yet_is_not_made_up_for_by_the_other() {
        // The default stack gave all that it had, and the card has enough of it.
        let stocks =
            [Stock { free: Some(0), with_card: LEAST }, Stock { free: Some(RX_SLOTS), with_card: 0 }];
        assert!(!may_give(&stocks, 0) && !may_give(&stocks, 1));
    }

    #[test]
    fn stacks_that_keep_up_leave_the_card_no_less() {
        let mut model = Model::new(true, CARD_BUFFERS);
        for target in (0..1000).map(|n| n % 2) {
            model.refill();
            let with_card: usize = model.stocks.iter().map(|stock| stock.with_card).sum();
            assert_eq!(with_card, CARD_BUFFERS, "{model:?}");
            let buffer_of = (0..3).rev().find(|number| model.stocks[*number].with_card > 0).unwrap();
            model.apply(Event::Frame { buffer_of, target });
            model.apply(Event::Consume { stack: target, count: 1 });
        }
        assert_eq!((model.forced, model.lost), (0, 0));
    }

    #[test]
    fn nobody_gives_for_a_stack_that_gets_nothing() {
        let stocks = [Stock { free: Some(RX_SLOTS), with_card: 0 }, Stock { free: None, with_card: 4 }];
        assert!(may_give(&stocks, 0) && !may_give(&stocks, 1) && !may_give(&stocks, 2));
    }
}
