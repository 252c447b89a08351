//! A bounded, sorted set of stretches of a stream: what arrived out of order, and what the peer says arrived (SACK).
//!
//! It must never grow: when it is full it says so, and the caller forgets what is safe to forget. How many spans it may hold
//! is up to the caller ([`crate::schema`]); `N` is the room for them.

/// Positions `start..end` of a stream, never empty inside a [`Spans`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// First position.
    pub start: u64,
    /// Past the last position.
    pub end: u64,
}

impl Span {
    /// How many positions.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// Whether `position` lies inside.
    #[must_use]
    pub const fn contains(&self, position: u64) -> bool {
        self.start <= position && position < self.end
    }
}

/// The set is full and the new span touches none of its members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// Up to `N` spans, ascending, with a gap between each two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spans<const N: usize> {
    items: [Span; N],
    count: usize,
}

impl<const N: usize> Default for Spans<N> {
    fn default() -> Self {
        Self { items: [Span::default(); N], count: 0 }
    }
}

impl<const N: usize> Spans<N> {
    /// The spans, ascending.
    #[must_use]
    pub fn as_slice(&self) -> &[Span] {
        self.items.get(..self.count).unwrap_or_default()
    }

    /// How many spans.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The lowest span.
    #[must_use]
    pub fn first(&self) -> Option<Span> {
        self.as_slice().first().copied()
    }

    /// Past the highest position; 0 when empty.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.as_slice().last().map_or(0, |span| span.end)
    }

    /// Positions in the set, all spans together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.as_slice().iter().map(Span::len).sum()
    }

    /// The span that holds `position`.
    #[must_use]
    pub fn find(&self, position: u64) -> Option<Span> {
        self.as_slice().iter().find(|span| span.contains(position)).copied()
    }

    /// Adds `new`, merged with all that it touches, if no more than `limit` spans result. An empty span changes nothing.
    ///
    /// # Errors
    /// [`Full`] when there is no room; the set is then unchanged.
    pub fn insert(&mut self, new: Span, limit: usize) -> Result<(), Full> {
        if new.is_empty() {
            return Ok(());
        }
        let mut merged = new;
        let mut out = Self::default();
        let mut placed = false;
        for span in self.as_slice() {
            if span.end < merged.start {
                out.push(*span)?;
            } else if span.start > merged.end {
                if !placed {
                    out.push(merged)?;
                    placed = true;
                }
                out.push(*span)?;
            } else {
                merged = Span { start: merged.start.min(span.start), end: merged.end.max(span.end) };
            }
        }
        if !placed {
            out.push(merged)?;
        }
        if out.count > limit {
            return Err(Full);
        }
        *self = out;
        Ok(())
    }

    /// Adds `span` above all others.
    ///
    /// # Errors
    /// [`Full`] when there is no room.
    pub fn push(&mut self, span: Span) -> Result<(), Full> {
        *self.items.get_mut(self.count).ok_or(Full)? = span;
        self.count += 1;
        Ok(())
    }

    /// Forgets all below `position`.
    pub fn remove_below(&mut self, position: u64) {
        if self.first().is_none_or(|span| span.start >= position) {
            return;
        }
        let mut out = Self::default();
        for span in self.as_slice().iter().filter(|span| span.end > position) {
            // Cannot be full: `out` holds no more spans than `self` did.
            let _ = out.push(Span { start: span.start.max(position), end: span.end });
        }
        *self = out;
    }

    /// Forgets all but the `count` lowest spans. Returns how many positions were forgotten.
    pub fn keep_lowest(&mut self, count: usize) -> u64 {
        let before = self.total();
        // The slots behind the last span stay empty, so that equal sets are equal field for field.
        if let Some(forgotten) = self.items.get_mut(count..) {
            forgotten.fill(Span::default());
        }
        self.count = self.count.min(count);
        before - self.total()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether the spans are non-empty, ascending, apart, and inside `bounds`: the check for a set that came from outside.
    #[must_use]
    pub fn is_sound(&self, bounds: Span) -> bool {
        let mut floor = bounds.start;
        self.as_slice().iter().enumerate().all(|(index, span)| {
            let apart = if index == 0 { span.start >= floor } else { span.start > floor };
            floor = span.end;
            apart && !span.is_empty() && span.end <= bounds.end
        })
    }
}
