//! Lines of the system's log: how long one may be, and a line being put together.

use core::fmt;

/// Longest line that one call may log, bytes.
pub const LINE: usize = 240;

/// A line being put together; what does not fit is cut off.
#[derive(Clone, Debug)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    /// An empty line.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; N], length: 0 }
    }

    /// Adds bytes.
    pub fn push(&mut self, text: &[u8]) {
        let text = &text[..text.len().min(N - self.length)];
        self.bytes[self.length..self.length + text.len()].copy_from_slice(text);
        self.length += text.len();
    }

    /// What there is so far.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::fmt::Write;

    #[test]
    fn what_does_not_fit_is_cut_off() {
        let mut text = Text::<8>::new();
        assert_eq!(write!(text, "{}-{}", 12, "long"), Ok(()));
        assert_eq!(text.as_bytes(), b"12-long");
        text.push(b"er");
        text.push(b"and more");
        assert_eq!(text.as_bytes(), b"12-longe");
    }
}
