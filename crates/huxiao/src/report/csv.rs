//! An account for spreadsheets: RFC 4180, one table with one line of names at its head.

use super::sheet::{Cell, Sheet, alarms, cities, schools, silences, stations};
use super::{Account, By};

/// The break-down that is asked for, or a line for each alarm.
pub(super) fn account(account: &Account) -> String {
    match account.by {
        Some(By::School) => csv(&schools(account)),
        Some(By::Station) => csv(&stations(account)),
        Some(By::City) => csv(&cities(account)),
        Some(By::Silence) => csv(&silences(account)),
        None => csv(&alarms(account)),
    }
}

/// One table.
pub(crate) fn csv(sheet: &Sheet) -> String {
    let head = sheet.columns.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let rows = sheet.rows.iter().map(|row| row.iter().map(Cell::plain).collect());
    std::iter::once(head).chain(rows).map(|fields: Vec<String>| line(&fields)).collect()
}

fn line(fields: &[String]) -> String {
    let quoted: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
    format!("{}\r\n", quoted.join(","))
}

/// A field as it must stand, whatever is in it.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_stands_in_a_field_stays_in_it() {
        let fields = ["plain", "", "a,b", "say \"no\"", "two\nlines", "一,二"].map(str::to_owned);
        assert_eq!(line(&fields), "plain,,\"a,b\",\"say \"\"no\"\"\",\"two\nlines\",\"一,二\"\r\n");
    }
}
