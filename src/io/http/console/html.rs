//! HTML that cannot be injected into: [`Html`] takes markup only from the program's own text, and escapes all else.

/// A page that is being written.
#[derive(Debug, Default)]
pub struct Html(String);

impl Html {
    /// Markup that stands in the source.
    pub fn markup(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Anything; as an element's content or a quoted attribute's value it is nothing but text.
    pub fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // HTML does not allow them, and one of them is shown as if it were others' (WHATWG 13.2.3.5).
                c if c.is_control() && c != '\n' => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
    }
}

impl From<Html> for String {
    fn from(html: Html) -> Self {
        html.0
    }
}
