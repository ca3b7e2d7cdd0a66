//! An account as one page: Chinese first, English second; no script, nothing from elsewhere.
//!
//! Invariant: every text passes [`escaped`] on its way into the page.

use super::moment::china;
use super::sheet::{Cell, Sheet, sheets};
use super::table::{headline, silent};
use super::{Account, missing_words};

const STYLE: &str = "\
body{font:15px/1.5 'PingFang SC','Microsoft YaHei','Noto Sans CJK SC',sans-serif;margin:2em auto;max-width:75em;padding:0 1em;color:#1b1f24}\
h1{font-size:1.5em}h2{font-size:1.15em;margin:2em 0 .4em}small{color:#57606a;font-weight:normal}\
table{border-collapse:collapse;width:100%}th,td{border-bottom:1px solid #d0d7de;padding:.25em .6em;text-align:left;vertical-align:top}\
th small{display:block}td.n{text-align:right;font-variant-numeric:tabular-nums}td.met{color:#116329}td.missed{color:#a40e26;font-weight:bold}\
p.bad{color:#a40e26;font-weight:bold}@media print{body{margin:0;max-width:none}}";

/// The page.
pub(super) fn account(account: &Account) -> String {
    let mut page = String::from("<!DOCTYPE html>\n<html lang=\"zh-CN\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    page.push_str(&format!(
        "<title>护校报警统计 Huxiao alarm report</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    ));
    page.push_str("<h1>护校报警统计 <small>Huxiao alarm report</small></h1>\n");
    page.push_str(&paragraph("", &format!("{} – {}", china(account.since), china(account.until))));
    page.push_str(&paragraph("", &headline(account)));
    page.push_str(&paragraph("", &silent(account)));
    if let Some([zh, en]) = missing_words(account.missing) {
        page.push_str(&paragraph("bad", &format!("{zh}  {en}")));
    }
    let (zh, en) = account.standard.words();
    page.push_str(&paragraph(
        "",
        &format!(
            "时限按{zh}，用时含演练和测试；从未到达的计为超时；按到达区域中心的时间归入本期，存盘时间即该时间。Limits for {en}; times \
             include drills and tests; what never came so far misses its limit; an alarm belongs to the time at which it came to the \
             region, and counts as stored from then on."
        ),
    ));
    sheets(account).iter().for_each(|sheet| page.push_str(&section(sheet)));
    page.push_str(&paragraph("", &format!("{} · {}", china(account.made_at), account.node)));
    page.push_str("</body>\n</html>\n");
    page
}

/// A page with a title, some sentences and some tables.
pub(crate) fn page((zh, en): (&str, &str), sentences: &[String], sheets: &[Sheet]) -> String {
    let mut page = String::from("<!DOCTYPE html>\n<html lang=\"zh-CN\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    let (zh, en) = (escaped(zh), escaped(en));
    page.push_str(&format!("<title>{zh} {en}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"));
    page.push_str(&format!("<h1>{zh} <small>{en}</small></h1>\n"));
    sentences.iter().for_each(|sentence| page.push_str(&paragraph("", sentence)));
    sheets.iter().for_each(|sheet| page.push_str(&section(sheet)));
    page.push_str("</body>\n</html>\n");
    page
}

fn paragraph(class: &str, text: &str) -> String {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    format!("<p{class}>{}</p>\n", escaped(text))
}

fn section(sheet: &Sheet) -> String {
    let (zh, en) = sheet.title;
    let mut text = format!("<h2>{} <small>{}</small></h2>\n", escaped(zh), escaped(en));
    if sheet.rows.is_empty() {
        return text + &paragraph("", "无 none");
    }
    text.push_str("<table>\n<thead><tr>");
    for (_, zh, en) in &sheet.columns {
        text.push_str(&format!("<th>{} <small>{}</small></th>", escaped(zh), escaped(en)));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for row in &sheet.rows {
        text.push_str("<tr>");
        row.iter().for_each(|cell| text.push_str(&of_cell(cell)));
        text.push_str("</tr>\n");
    }
    text + "</tbody>\n</table>\n"
}

fn of_cell(cell: &Cell) -> String {
    let class = match cell {
        Cell::Count(_) | Cell::Time(_) | Cell::Share(..) => " class=\"n\"",
        Cell::Met(Some(true)) => " class=\"met\"",
        Cell::Met(Some(false)) => " class=\"missed\"",
        Cell::Name(_) | Cell::Word(..) | Cell::Met(None) | Cell::At(_) => "",
    };
    format!("<td{class}>{}</td>", escaped(&cell.shown()))
}

/// The text with nothing in it that a browser reads as anything else.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let nasty = "<script>alert('x')</script> & \"quotes\"";
        let cell = of_cell(&Cell::Name(nasty.to_owned()));
        assert_eq!(cell, "<td>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;quotes&quot;</td>");
        assert!(!paragraph("bad", nasty).contains("<script"));
    }
}
