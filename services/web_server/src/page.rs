//! The page with the running services.

use alloc::string::String;
use core::fmt::Write;

/// One service as the page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is doing.
    pub state: &'static str,
    /// How often it was started again.
    pub restarts: u64,
}

/// The page; without rows it says that the list is not available.
#[must_use]
pub fn index(rows: &[Row], uptime_seconds: u64) -> String {
    let mut out = String::from(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>HIC</title></head><body>\n<h1>HIC</h1>\n",
    );
    // Writing to a string cannot fail.
    let _ = writeln!(out, "<p>Up for {uptime_seconds} seconds.</p>");
    if rows.is_empty() {
        out.push_str("<p>The list of services is not available.</p>\n</body></html>\n");
        return out;
    }
    out.push_str("<table>\n<tr><th>service</th><th>version</th><th>state</th><th>restarts</th></tr>\n");
    for Row { name, version, state, restarts } in rows {
        out.push_str("<tr><td>");
        escape(&mut out, name);
        out.push_str("</td><td>");
        escape(&mut out, version);
        let _ = writeln!(out, "</td><td>{state}</td><td>{restarts}</td></tr>");
    }
    out.push_str("</table>\n</body></html>\n");
    out
}

/// Names come from manifests: text, not markup.
fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_has_a_row_and_markup_in_names_is_text() {
        let row =
            |name: &str| Row { name: name.into(), version: "1.2.0".into(), state: "running", restarts: 3 };
        let page = index(&[row("netstack"), row("<b>&")], 7);
        assert!(page.contains("<td>netstack</td><td>1.2.0</td><td>running</td><td>3</td>"));
        assert!(page.contains("<td>&lt;b&gt;&amp;</td>") && page.contains("Up for 7 seconds"));
    }

    #[test]
    fn without_a_list_the_page_says_so() {
        assert!(index(&[], 0).contains("not available"));
    }
}
