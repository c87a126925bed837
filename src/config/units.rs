//! Durations and sizes with their units in the text: `"250ms"`, `"8h"`, `"64KiB"`.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, de::Visitor};

/// A [`Duration`] written as a whole number and one of us, ms, s, min, h, d.
#[derive(Debug, Clone, Copy)]
pub struct Span(pub Duration);

/// A count of octets written as a whole number and one of B, KiB, MiB, GiB.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub usize);

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim()))
}

fn span(text: &str) -> Option<Span> {
    let (number, unit) = split(text)?;
    let unit = match unit {
        "us" => Duration::from_micros(1),
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "min" => Duration::from_secs(60),
        "h" => Duration::from_secs(3_600),
        "d" => Duration::from_secs(86_400),
        _ => return None,
    };
    unit.checked_mul(u32::try_from(number).ok()?).map(Span)
}

fn size(text: &str) -> Option<Size> {
    let (number, unit) = split(text)?;
    let unit: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    usize::try_from(number.checked_mul(unit)?).ok().map(Size)
}

struct Text<T> {
    parse: fn(&str) -> Option<T>,
    expected: &'static str,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a time with its unit (us, ms, s, min, h, d), such as \"250ms\"";
        deserializer.deserialize_str(Text {
            parse: span,
            expected,
        })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a size with its unit (B, KiB, MiB, GiB), such as \"64KiB\"";
        deserializer.deserialize_str(Text {
            parse: size,
            expected,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_part_of_the_value() {
        assert_eq!(span("250ms").unwrap().0, Duration::from_millis(250));
        assert_eq!(span("8h").unwrap().0, Duration::from_secs(28_800));
        assert_eq!(size("64KiB").unwrap().0, 65_536);
        for bad in [
            "",
            "5",
            "ms",
            "-1s",
            "1.5s",
            "5 parsecs",
            "99999999999999999999s",
        ] {
            assert!(span(bad).is_none(), "{bad}");
        }
    }
}
