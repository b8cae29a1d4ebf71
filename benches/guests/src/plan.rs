//! The tap of the break-even map: reads and writes as many fields as its item's title says.

use tapline_sdk::{Item, ItemHandle, Value};

/// The fields that are read, in this order: small values first, the longest text last.
pub const READ: [&str; 14] = [
    "views",
    "rating",
    "price",
    "word_count",
    "published_date",
    "email",
    "category",
    "summary",
    "flags",
    "image",
    "tags",
    "metadata",
    "related",
    "body",
];

/// The fields that are written, in this order.
pub const WRITTEN: [&str; 10] = ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9"];

/// What is written into each: 40 bytes, about as much as a title or a link.
pub const TEXT: &str = "forty bytes of text, written by a plugin";

/// What one call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many of [`READ`].
    pub reads: usize,
    /// How many of [`WRITTEN`].
    pub writes: usize,
    /// What the weights of the fields read must come to. Another sum is an error, so that no arm can read less.
    pub sum: i64,
}

impl Plan {
    /// A plan for this item.
    #[must_use]
    pub fn for_item(reads: usize, writes: usize, item: &Item) -> Self {
        let sum = READ.iter().take(reads).filter_map(|name| item.field(name)).map(weight).sum();
        Self { reads, writes, sum }
    }

    /// The title that carries the plan.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} {} {}", self.reads, self.writes, self.sum)
    }

    fn parse(title: &str) -> Option<Self> {
        let mut numbers = title.split(' ');
        let reads = numbers.next()?.parse().ok()?;
        let writes = numbers.next()?.parse().ok()?;
        Some(Self { reads, writes, sum: numbers.next()?.parse().ok()? })
    }

    fn check(&self, sum: i64) -> Result<(), String> {
        if sum == self.sum { Ok(()) } else { Err("the fields that were read are not those of the plan".to_owned()) }
    }
}

/// A number that needs the value and costs next to nothing: what is measured is the crossing.
fn weight(value: &Value) -> i64 {
    let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
    match value {
        Value::Null => 0,
        Value::Boolean(answer) => i64::from(*answer),
        Value::Integer(number) => *number,
        Value::Float(number) => (*number * 10.0) as i64,
        Value::Text(text) | Value::Json(text) => length(text),
        Value::Formatted(formatted) => length(&formatted.text),
        Value::Reference(_) | Value::References(_) => {
            value.as_references().iter().map(|reference| length(&reference.label)).sum()
        }
    }
}

const NO_PLAN: &str = "the title is no plan";

/// The work on a whole item.
///
/// # Errors
///
/// The title is no plan, or the fields are not those of the plan.
pub fn full(item: &mut Item) -> Result<(), String> {
    let plan = Plan::parse(item.title()).ok_or(NO_PLAN)?;
    let read = READ.iter().take(plan.reads).filter_map(|name| item.field(name));
    plan.check(read.map(weight).sum())?;
    for name in WRITTEN.iter().take(plan.writes) {
        item.set(*name, TEXT);
    }
    Ok(())
}

/// The work through a handle: one crossing for the plan, one for each field.
///
/// # Errors
///
/// The title is no plan, the fields are not those of the plan, or the host refused a change.
pub fn lazy(item: &ItemHandle) -> Result<(), String> {
    let plan = Plan::parse(&item.title()).ok_or(NO_PLAN)?;
    let read = READ.iter().take(plan.reads).filter_map(|name| item.field(name));
    plan.check(read.map(|value| weight(&value)).sum())?;
    for name in WRITTEN.iter().take(plan.writes) {
        item.set(name, TEXT).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tapline_sdk_testing::sample;

    use super::*;

    fn planned(reads: usize, writes: usize) -> Item {
        let mut item = sample::article();
        let plan = Plan::for_item(reads, writes, &item);
        item.set_title(plan.title());
        item
    }

    #[test]
    fn reads_and_writes_what_the_title_says() {
        for (reads, writes) in [(1, 0), (3, 1), (14, 10)] {
            let mut item = planned(reads, writes);
            full(&mut item).unwrap();
            let handle = ItemHandle::from(planned(reads, writes));
            lazy(&handle).unwrap();
            let count = WRITTEN.iter().filter(|name| item.text(name) == Some(TEXT)).count();
            assert_eq!(count, writes);
            assert_eq!(handle.field_names().len(), 14 + writes);
        }
    }

    #[test]
    fn an_arm_that_reads_something_else_is_found_out() {
        let mut item = planned(3, 0);
        item.set("price", 99.0);
        assert!(full(&mut item).is_err());
        assert!(lazy(&ItemHandle::from(item)).is_err());
        assert_eq!(full(&mut sample::article()), Err(NO_PLAN.to_owned()));
    }

    #[test]
    fn all_fields_of_the_map_are_in_the_payload() {
        let item = sample::article();
        assert!(READ.iter().all(|name| item.field(name).is_some()));
        assert_eq!(TEXT.len(), 40);
    }
}
