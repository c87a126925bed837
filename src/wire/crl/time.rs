//! The times of a CRL (RFC 5280 5.1.2.4 to 5.1.2.6): [`time`] reads them. There is one in every entry.

use super::CrlFormatError;
use crate::wire::{
    time::Seconds,
    tlv::{DerError, Element, tag},
};

/// Time (RFC 5280 5.1.2.4 to 5.1.2.6): UTCTime from 1970 to 2049, or GeneralizedTime, which is taken
/// before 2050 too. DER's form: with seconds and `Z`, without a fraction.
pub fn time(element: Element<'_>) -> Result<Seconds, CrlFormatError> {
    let parsed = match element.tag {
        tag::UTC_TIME => element.value.try_into().ok().and_then(utc_time),
        tag::GENERALIZED_TIME => match element.value {
            [a, b, c, d, rest @ ..] => number(*a, *b)
                .zip(number(*c, *d))
                .and_then(|(century, year)| instant(century * 100 + year, rest)),
            _ => None,
        },
        _ => return Err(DerError::UnexpectedTag.into()),
    };
    parsed.ok_or_else(|| {
        let shown = element.value.iter().take(24).copied().collect::<Vec<_>>();
        CrlFormatError::Time(shown.escape_ascii().to_string())
    })
}

/// `YYMMDDHHMMSSZ`.
pub fn utc_time(time: &[u8; 13]) -> Option<Seconds> {
    let [y1, y2, rest @ ..] = time;
    let year = match number(*y1, *y2)? {
        year if year < 50 => 2000 + year,
        year => 1900 + year,
    };
    instant(year, rest)
}

/// `MMDDHHMMSSZ` in `year`.
fn instant(year: u64, rest: &[u8]) -> Option<Seconds> {
    let [m1, m2, d1, d2, h1, h2, i1, i2, s1, s2, b'Z'] = *rest else {
        return None;
    };
    let (month, day) = (number(m1, m2)?, number(d1, d2)?);
    let (hour, minute, second) = (number(h1, h2)?, number(i1, i2)?, number(s1, s2)?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days_in_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u64::from(leap),
        _ => return None,
    };
    let in_range = (1970..=9999).contains(&year)
        && (1..=days_in_month).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    // The reverse of the count in `Seconds`: years begin on 1 March, so that a leap day is the last.
    let (shifted_year, shifted_month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.saturating_sub(1), month + 9)
    };
    let day_of_year = (153 * shifted_month + 2) / 5 + day;
    let days = 365 * shifted_year + shifted_year / 4 - shifted_year / 100 + shifted_year / 400;
    in_range.then(|| {
        let since_1970 = days + day_of_year - 1 - 719_468;
        Seconds::new(since_1970 * 86_400 + hour * 3_600 + minute * 60 + second)
    })
}

fn number(tens: u8, units: u8) -> Option<u64> {
    let digits = tens.is_ascii_digit() && units.is_ascii_digit();
    digits.then(|| u64::from(tens - b'0') * 10 + u64::from(units - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tlv::{Reader, wrap};

    fn read_time(tag: u8, text: &str) -> Option<u64> {
        let der = wrap(tag, &[text.as_bytes()]);
        time(Reader::new(&der).next_element().unwrap())
            .ok()
            .map(Seconds::get)
    }

    #[test]
    fn times_are_read_in_der_form_only() {
        assert_eq!(read_time(tag::UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(
            read_time(tag::UTC_TIME, "491231235959Z"),
            Some(2_524_607_999)
        );
        assert_eq!(
            read_time(tag::GENERALIZED_TIME, "99991231235959Z"),
            Some(Seconds::END.get())
        );
        for (tag, bad) in [
            (tag::UTC_TIME, "500101000000Z"),
            (tag::UTC_TIME, "2401010000Z"),
            (tag::UTC_TIME, "240101000000+0000"),
            (tag::UTC_TIME, "240101000000z"),
            (tag::UTC_TIME, "240230000000Z"),
            (tag::UTC_TIME, "230229000000Z"),
            (tag::UTC_TIME, "240101240000Z"),
            (tag::UTC_TIME, "240101000060Z"),
            (tag::UTC_TIME, "20240101000000Z"),
            (tag::GENERALIZED_TIME, "240101000000Z"),
            (tag::GENERALIZED_TIME, "20240101000000.5Z"),
            (tag::GENERALIZED_TIME, "20240101000000"),
            (tag::GENERALIZED_TIME, "19691231235959Z"),
            (tag::GENERALIZED_TIME, "00000101000000Z"),
            (tag::GENERALIZED_TIME, ""),
        ] {
            assert_eq!(read_time(tag, bad), None, "{bad}");
        }
    }

    #[test]
    fn times_agree_with_what_is_written() {
        for step in 0..20_000u64 {
            let seconds = Seconds::new(step * 12_670_117);
            let text = String::from_utf8(seconds.generalized().to_vec()).unwrap();
            assert_eq!(read_time(tag::GENERALIZED_TIME, &text), Some(seconds.get()));
        }
    }
}
