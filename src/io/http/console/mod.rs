//! The operator's page: [`page`] renders what `/status` tells, on the server and without any script, so that it works in
//! every browser and nothing of it can be made to run. It loads one style sheet ([`style`]) from here and nothing else,
//! and loads itself again now and then.

mod chart;
mod html;

use bytes::Bytes;
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use serde_json::Value;

use super::{Answer, whole};
use crate::io::status_tables::{Mark, Table, counted, headline, is_ready, tables};
use html::Html;

/// Nothing but the style sheet, and nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What a telephone's screen has room for side by side. In tables with more columns each cell is a line there.
const NARROW_COLUMNS: usize = 4;

/// Octets of a cell that is not broken over lines where there is room: an instant has 20.
const SHORT: usize = 20;

/// Whether a client of these headers asks for HTML by name: a browser does, `curl` and scripts do not.
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let accepts = |value: &HeaderValue| {
        let ranges = value.to_str().unwrap_or_default().split(',');
        ranges.into_iter().any(names_html)
    };
    headers.get_all(ACCEPT).iter().any(accepts)
}

/// `text/html`, with any parameters but a weight of zero (RFC 9110 12.4.2).
fn names_html(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let is_html = parts
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case("text/html"));
    let is_zero = |part: &str| {
        let weight = part
            .split_once('=')
            .filter(|(name, _)| name.eq_ignore_ascii_case("q"));
        weight.is_some_and(|(_, weight)| weight.bytes().all(|octet| matches!(octet, b'0' | b'.')))
    };
    is_html && !parts.any(is_zero)
}

/// The style sheet.
pub fn style() -> Answer {
    let css = Bytes::from_static(include_bytes!("console.css"));
    guarded(whole(css, "text/css; charset=utf-8"))
}

/// The page over this status.
pub fn page(status: &Value) -> Answer {
    let page = Bytes::from(rendered(status));
    guarded(whole(page, "text/html; charset=utf-8"))
}

fn guarded(mut answer: Answer) -> Answer {
    let headers: [(HeaderName, &'static str); 4] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in headers {
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn rendered(status: &Value) -> String {
    let mut page = Html::default();
    page.markup("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.markup("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.markup("<meta name=\"color-scheme\" content=\"light dark\">\n");
    page.markup("<meta http-equiv=\"refresh\" content=\"10\">\n<title>");
    page.text(if is_ready(status) {
        "Gnomon: ready"
    } else {
        "Gnomon: NOT READY"
    });
    page.markup("</title>\n<link rel=\"stylesheet\" href=\"/console.css\">\n</head>\n<body>\n");
    page.markup("<header>\n<h1>Gnomon</h1>\n<p class=\"");
    page.markup(if is_ready(status) { "good" } else { "bad" });
    page.markup("\" role=\"status\">");
    page.text(&headline(status));
    page.markup("</p>\n</header>\n<main>\n");
    charts(&mut page, status);
    for (number, each) in tables(status).iter().enumerate() {
        table(&mut page, number, each);
    }
    page.markup(
        "</main>\n<footer><p>The same as JSON: <a href=\"/status\">/status</a>, in a terminal: ",
    );
    page.markup(
        "<code>gnomon status</code>. This page loads itself again every 10 seconds.</p></footer>\n",
    );
    page.markup("</body>\n</html>\n");
    page.into()
}

fn charts(page: &mut Html, status: &Value) {
    page.markup(
        "<section aria-labelledby=\"charts\">\n<h2 id=\"charts\">The last 30 minutes</h2>\n",
    );
    page.markup("<div class=\"charts\">\n");
    let intervals = status
        .get("requests")
        .and_then(|requests| requests.get("intervals"));
    for (name, what) in counted(status) {
        let counts = intervals
            .and_then(|intervals| intervals.get(name))
            .and_then(Value::as_array);
        let counts = counts.into_iter().flatten().filter_map(Value::as_u64);
        chart::draw(page, what, &counts.collect::<Vec<_>>());
    }
    page.markup("</div>\n</section>\n");
}

fn table(page: &mut Html, number: usize, table: &Table) {
    let id = format!("t{number}");
    page.markup("<section aria-labelledby=\"");
    page.text(&id);
    page.markup("\">\n<h2 id=\"");
    page.text(&id);
    page.markup("\">");
    page.text(table.title);
    page.markup("</h2>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-labelledby=\"");
    page.text(&id);
    page.markup("\">\n<table");
    if table.head.len() > NARROW_COLUMNS {
        page.markup(" class=\"many\"");
    }
    page.markup(">\n<thead><tr>");
    for cell in &table.head {
        page.markup("<th scope=\"col\">");
        page.text(cell);
        page.markup("</th>");
    }
    page.markup("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        page.markup(match row.mark {
            Mark::Plain => "<tr>",
            Mark::Good => "<tr class=\"good\">",
            Mark::Warning => "<tr class=\"warning\">",
            Mark::Bad => "<tr class=\"bad\">",
        });
        for (column, (head, cell)) in table.head.iter().zip(&row.cells).enumerate() {
            let [open, close] = match column {
                0 => ["<th scope=\"row\"", "</th>"],
                _ => ["<td", "</td>"],
            };
            page.markup(open);
            if column > 0 && table.head.len() > NARROW_COLUMNS {
                page.markup(" data-head=\"");
                page.text(head);
                page.markup("\"");
            }
            if cell.len() > SHORT {
                page.markup(" class=\"long\"");
            }
            page.markup(">");
            page.text(cell);
            page.markup(close);
        }
        page.markup("</tr>\n");
    }
    page.markup("</tbody>\n</table>\n</div>\n</section>\n");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_browser_gets_the_page_and_a_script_does_not() {
        let wanted = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            is_wanted(&headers)
        };
        assert!(wanted(
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
        ));
        assert!(wanted("application/json, Text/HTML ;q=0.1"));
        for accept in [
            "*/*",
            "text/plain",
            "text/html;q=0",
            "text/html; q=0.000",
            "text/htmlx",
            "",
        ] {
            assert!(!wanted(accept), "{accept}");
        }
        assert!(!is_wanted(&HeaderMap::new()));
    }

    #[test]
    fn whatever_a_status_says_is_text() {
        const HOSTILE: &str = "\"'><script>alert(1)</script>&amp;";
        fn poison(value: &mut Value) {
            match value {
                Value::String(text) => HOSTILE.clone_into(text),
                Value::Array(values) => values.iter_mut().for_each(poison),
                Value::Object(fields) => fields.values_mut().for_each(poison),
                _ => {}
            }
        }
        let mut status = json!({
            "version": "", "time": "", "ready": false, "uptime_seconds": 7,
            "services": [{"service": "", "trouble": ""}],
            "clock": {
                "proven": false, "reason": "", "fault": "", "last_proven": "", "leap_second_before": "",
                "chronyd": {"source": [{"name": "", "state": "", "reach": 1}]},
            },
            "tsus": [{"tsu": "", "keys": [{
                "subject": "", "algorithm": "", "signs_until": "", "trouble": "", "device": {},
            }]}],
            "issuers": [{"issuer": "", "subject": "", "not_after": "", "keys": [], "issued_serials": 1, "crls": [
                {"source": "", "number": "", "kind": "", "error": "", "seconds_left": -1},
            ]}],
            "devices": {},
            "journal": {"state": ""},
        });
        poison(&mut status);
        let page = rendered(&status);
        assert!(!page.contains("<script") && !page.contains("&amp;\"") && !page.contains("'>"));
        let escaped = "&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;";
        // The journal's state is shown in capitals.
        let found = page.matches(escaped).count() + page.matches(&escaped.to_uppercase()).count();
        assert!(found >= 19, "{found} in {page}");
    }
}
