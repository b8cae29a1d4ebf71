//! Access tap: denies items before the date from which they are public.
//!
//! The date stands in the field `embargo_until`: `2027-01-31`, from midnight UTC on, or seconds since 1970. A date that
//! cannot be read is an error, and the host takes an error for a denial: an embargo fails closed.

use tapline_sdk::{Access, AccessRequest, ItemHandle, Operation, Value, tap};

const FIELD: &str = "embargo_until";

#[tap(lazy, fields = ["embargo_until"])]
fn item_access(item: ItemHandle, request: &AccessRequest) -> Result<Access, String> {
    if request.operation != Operation::View {
        return Ok(Access::Neutral);
    }
    let until = match item.field(FIELD) {
        None | Some(Value::Null) => return Ok(Access::Neutral),
        Some(Value::Integer(seconds)) => seconds,
        Some(Value::Text(date)) => {
            midnight(&date).ok_or_else(|| format!("`{FIELD}` is `{date}`, not a date such as 2027-01-31"))?
        }
        Some(_) => return Err(format!("`{FIELD}` is neither a date nor a number of seconds")),
    };
    Ok(if request.now < until { Access::Deny } else { Access::Neutral })
}

/// The first second of a day that is written `2027-01-31`.
fn midnight(date: &str) -> Option<i64> {
    let mut parts = date.splitn(3, '-').zip([4, 2, 2]).map(|(part, width)| {
        let digits = part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit());
        if digits { part.parse().ok() } else { None }
    });
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let in_month = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    in_month.then(|| days_from_civil(year, month, day) * 86_400)
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Howard Hinnant's algorithm (<https://howardhinnant.github.io/date_algorithms.html>): years begin in March, so that the
/// leap day is the last of its year, and eras of 400 years repeat.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use tapline_sdk::Item;

    use super::*;

    /// 2027-01-31 00:00 UTC.
    const MIDNIGHT: i64 = 1_801_353_600;

    fn ask(until: impl Into<Value>, operation: Operation, now: i64) -> Result<Access, String> {
        let item = Item::builder("news").field(FIELD, until).build();
        item_access(item.into(), &AccessRequest { operation, account: None, now })
    }

    #[test]
    fn a_date_opens_at_its_midnight() {
        assert_eq!(ask("2027-01-31", Operation::View, MIDNIGHT - 1), Ok(Access::Deny));
        assert_eq!(ask("2027-01-31", Operation::View, MIDNIGHT), Ok(Access::Neutral));
        assert_eq!(ask(MIDNIGHT, Operation::View, MIDNIGHT - 1), Ok(Access::Deny));
    }

    #[test]
    fn authors_may_work_on_it_meanwhile() {
        assert_eq!(ask("2027-01-31", Operation::Update, 0), Ok(Access::Neutral));
        assert_eq!(ask("2027-01-31", Operation::Delete, 0), Ok(Access::Neutral));
    }

    #[test]
    fn no_date_is_no_embargo() {
        let request = AccessRequest { operation: Operation::View, account: None, now: 0 };
        assert_eq!(item_access(Item::builder("news").build().into(), &request), Ok(Access::Neutral));
        assert_eq!(ask(Value::Null, Operation::View, 0), Ok(Access::Neutral));
    }

    #[test]
    fn what_is_not_a_date_is_an_error() {
        for bad in ["", "soon", "2027-13-01", "2027-02-29", "2027-1-31", "2027-01-31T00:00", "+027-01-31", "2027-01"] {
            let error = ask(bad, Operation::View, 0).unwrap_err();
            assert!(error.contains("not a date"), "{bad}: {error}");
        }
        assert!(ask(true, Operation::View, 0).is_err());
    }

    #[test]
    fn leap_days_exist_in_leap_years() {
        assert_eq!(midnight("2000-02-29"), Some(951_782_400));
        assert_eq!(midnight("2100-02-29"), None);
        assert_eq!(midnight("1969-12-31"), Some(-86_400));
    }
}
