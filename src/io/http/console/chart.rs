//! A small chart of counts over time, as an SVG in the page: [`draw`]. What it shows is said in words as well.

use super::html::Html;

/// How many intervals of ten seconds are shown: half an hour.
const INTERVALS: usize = 180;

/// Of one bar, in the chart's own units.
const BAR: usize = 2;

/// Of the highest bar.
const HEIGHT: u64 = 40;

/// Draws `counts`, of whole intervals, the oldest first; the last ends now.
pub fn draw(page: &mut Html, what: &str, counts: &[u64]) {
    let shown = counts.get(counts.len().saturating_sub(INTERVALS)..);
    let counts = shown.unwrap_or_default();
    let most = counts.iter().copied().max().unwrap_or(0);
    let words = match most {
        0 => "none".to_owned(),
        _ => format!(
            "{} in all, at most {most} in 10 s",
            counts.iter().sum::<u64>()
        ),
    };
    page.markup("<figure>\n<figcaption>");
    page.text(what);
    page.markup(": ");
    page.text(&words);
    page.markup("</figcaption>\n<svg viewBox=\"0 0 360 42\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"");
    page.text(&format!("{what} over the last 30 minutes: {words}"));
    page.markup("\"><path class=\"base\" d=\"M0 41H360\"/><path class=\"bars\" d=\"");
    page.text(&bars(counts, most));
    page.markup("\"/></svg>\n</figure>\n");
}

/// A path of bars; what is not zero is seen.
fn bars(counts: &[u64], most: u64) -> String {
    let before = INTERVALS.saturating_sub(counts.len());
    let mut path = String::new();
    for (index, count) in counts.iter().enumerate() {
        let height = (u128::from(*count) * u128::from(HEIGHT)).checked_div(u128::from(most));
        if let Some(height) = height.filter(|_| *count > 0) {
            let (x, height) = ((before + index) * BAR, height.max(1));
            path.push_str(&format!("M{x} 41v-{height}h{BAR}v{height}z"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_end_now_and_are_seen_however_small() {
        assert_eq!(bars(&[], 0), "");
        assert_eq!(bars(&[0, 0], 0), "");
        assert_eq!(
            bars(&[1, 0, 1_000], 1_000),
            "M354 41v-1h2v1zM358 41v-40h2v40z"
        );
        assert_eq!(bars(&[u64::MAX], u64::MAX), "M358 41v-40h2v40z");
        let mut page = Html::default();
        draw(&mut page, "tokens", &[5; 1_000]);
        let page = String::from(page);
        assert!(
            page.contains("tokens: 900 in all, at most 5 in 10 s") && page.contains("M0 41v-40h2")
        );
    }
}
