//! Orders, the reasons for them, and orders that do not exist.

use expect_test::{Expect, expect};
use tapline_tap_dispatch::{Order, OrderError, Override, Placement, PluginName, TapName, resolve};

/// One plugin from a line such as `seo 10 first before=a,b after=c`.
fn plugin(line: &str) -> (PluginName, Placement) {
    let mut words = line.split_whitespace();
    let name = PluginName::new(words.next().unwrap()).unwrap();
    let mut placement = Placement::default();
    let list = |names: &str| names.split(',').map(str::to_owned).collect();
    for word in words {
        match word.split_once('=') {
            Some(("before", names)) => placement.before = list(names),
            Some(("after", names)) => placement.after = list(names),
            None if word == "first" => placement.first = true,
            None if word == "last" => placement.last = true,
            _ => placement.weight = word.parse().unwrap(),
        }
    }
    (name, placement)
}

fn order(lines: &[&str]) -> Result<Order, OrderError> {
    resolve(&TapName::new("item_view").unwrap(), lines.iter().map(|line| plugin(line)).collect())
}

#[track_caller]
fn check(lines: &[&str], expected: &str) {
    let order = order(lines).unwrap();
    let names: Vec<_> = order.plugins().iter().map(PluginName::as_str).collect();
    assert_eq!(names.join(" "), expected, "\n{}", order.explain());
    let mut backwards = lines.to_vec();
    backwards.reverse();
    assert_eq!(self::order(&backwards).unwrap(), order, "the order of the input shows");
}

#[track_caller]
fn check_error(lines: &[&str], expected: Expect) {
    let error = order(lines).unwrap_err();
    expected.assert_eq(&format!("{error}\nhint: {}", error.hint().unwrap_or_default()));
    let mut backwards = lines.to_vec();
    backwards.reverse();
    assert_eq!(order(&backwards).unwrap_err(), error, "the order of the input shows");
}

#[test]
fn group_then_weight_then_name() {
    check(&[], "");
    check(&["b", "a"], "a b");
    check(&["a 1", "b -1", "c"], "b c a");
    check(&["a", "b last -5", "c first 5", "d last -6", "e first 4"], "e c a d b");
}

#[test]
fn before_moves_its_plugin_ahead_and_after_moves_it_back() {
    check(&["a -10", "b before=a", "c -5"], "b a c");
    check(&["related after=seo", "seo 50", "x 20"], "x seo related");
    check(&["a", "b", "c", "d before=b"], "a d b c");
}

#[test]
fn constraints_beat_first_last_and_weight() {
    check(&["a first", "b before=a", "c -100"], "b a c");
    check(&["a first after=b", "b 100", "c"], "b a c");
    check(&["z last", "b after=z", "c 100"], "c z b");
    check(&["z last before=b", "b", "c"], "z b c");
    check(&["a first", "z last before=a", "b"], "z a b");
}

#[test]
fn what_is_moved_ahead_takes_its_predecessors_along() {
    // `b` moves ahead of `a`, and `d` has to come before `b`.
    check(&["a -10", "b 5 before=a after=d", "c -5", "d 100"], "d b a c");
    // A chain behind a `first`.
    check(&["a first after=b", "b after=c", "c 100", "d", "e first 9"], "c b a e d");
    // Two that are taken along keep their own order.
    check(&["a first", "x 2 before=a", "y 1 before=a"], "y x a");
}

#[test]
fn names_that_are_not_loaded_have_no_effect() {
    check(&["a after=x", "b before=y,x", "c"], "a b c");
}

#[test]
fn saying_the_same_twice_is_fine() {
    check(&["a after=b,b", "b before=a,a"], "b a");
}

#[test]
fn the_operators_override_decides() {
    let (name, own) = plugin("a first before=b");
    let operator =
        Override { before: Some(vec![]), after: Some(vec!["b".to_owned()]), last: Some(true), ..Override::default() };
    let tap = TapName::new("t").unwrap();
    let order = resolve(&tap, vec![(name, operator.apply_to(own)), plugin("b"), plugin("c")]).unwrap();
    assert_eq!(order.plugins().iter().map(PluginName::as_str).collect::<Vec<_>>(), ["b", "c", "a"]);
}

#[test]
fn explain_says_why() {
    expect![[r#"
        item_view: 7 handlers
           #  plugin           weight  why
           1  base                100  taken along by `seo`
           2  seo                  -5  first; after `base`
           3  early                 0  before `late-riser`; after `gone\u{1b}[2J` (not loaded)
           4  late-riser            0  name, among equal weights
           5  x                    10  before `nobody` (not loaded); weight
           6  z           -2147483648  last
           7  y            2147483647  after `z`
    "#]]
    .assert_eq(
        &order(&[
            "seo -5 first after=base",
            "base 100",
            "late-riser",
            "early before=late-riser after=gone\u{1b}[2J",
            "x 10 before=nobody",
            "z -2147483648 last",
            "y 2147483647 after=z",
        ])
        .unwrap()
        .explain(),
    );
    expect![[r#"
        item_view: no handlers
    "#]]
    .assert_eq(&order(&[]).unwrap().explain());
    expect![[r#"
        item_view: 1 handler
           #  plugin       weight  why
           1  a                 0  weight
    "#]]
    .assert_eq(&order(&["a"]).unwrap().explain());
}

#[test]
fn a_cycle_is_spelled_out() {
    check_error(
        &["seo before=related", "related before=seo"],
        expect![[r#"
            the order of tap `item_view` has a cycle: related before seo before related (`related` declares before `seo`, `seo` declares before `related`)
            hint: override `before` of plugin `related` in the configuration with a list without `seo`"#]],
    );
    check_error(
        &["seo before=related after=related", "related"],
        expect![[r#"
            the order of tap `item_view` has a cycle: related before seo before related (`seo` declares after `related`, `seo` declares before `related`)
            hint: override `after` of plugin `seo` in the configuration with a list without `related`"#]],
    );
    // What leads to a cycle, or away from it, is not part of it.
    check_error(
        &["a before=b", "b before=c", "c after=d before=z", "d after=b,c", "z"],
        expect![[r#"
            the order of tap `item_view` has a cycle: c before d before c (`d` declares after `c`, `c` declares after `d`)
            hint: override `after` of plugin `d` in the configuration with a list without `c`"#]],
    );
}

#[test]
fn other_contradictions() {
    check_error(
        &["a first last", "b"],
        expect![[r#"
        plugin `a` is both first and last in tap `item_view`
        hint: override `first` or `last` of plugin `a` with `false` in the configuration"#]],
    );
    check_error(
        &["a after=a", "b"],
        expect![[r#"
        plugin `a` wants to be after itself in tap `item_view`
        hint: override `after` of plugin `a` in the configuration with a list without it"#]],
    );
    check_error(
        &["a", "b", "a 5"],
        expect![[r#"
        plugin `a` has two handlers in tap `item_view`
        hint: load the plugin once, or give one of the two another name"#]],
    );
}
