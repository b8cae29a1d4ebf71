//! Commands that look at plugins.

use expect_test::expect;
use serde_json::Value;

use crate::{PLUGINS, Place, component, text};

#[test]
fn plugins_and_explain() {
    let place = Place::new();
    place.configure(
        &PLUGINS,
        "[plugins.seo.order.item_view]\nweight = -5\n[plugins.reading-time.order.item_view]\nafter = [\"related\"]\n",
    );
    let output = text(&place.run(&["plugins"]).stdout);
    // Sizes change with every compiler.
    let names: Vec<String> = output
        .lines()
        .map(|line| line.rsplit_once("  ").map_or(line, |(rest, _)| rest.trim_end()).to_owned())
        .collect();
    expect![[r#"
        plugin        version  taps                                   grants
        audit-log     0.1.0    item_insert, item_update, item_delete  -
        embargo       0.1.0    item_access                            -
        house-style   0.1.0    item_presave                           -
        reading-time  0.1.0    item_view                              -
        related       0.1.0    item_view                              database
        seo           0.1.0    item_view                              -
    "#]]
    .assert_eq(&(names.join("\n") + "\n"));
    place.check(
        &["explain", "item_view"],
        expect![[r#"
        item_view: 3 handlers
           #  plugin             weight  why
           1  seo                    -5  weight
           2  related                 0  name, among equal weights
           3  reading-time            0  after `related`

        [0]
    "#]],
    );
    place.check(
        &["explain", "cron"],
        expect![[r#"
        cron: no handlers

        [0]
    "#]],
    );
    place.check(
        &["explain", "item_veiw"],
        expect![[r#"
        error: there is no tap `item_veiw`
        hint: did you mean `item_view`?
        [1]
    "#]],
    );
    place.check(
        &["explain", "x"],
        expect![[r#"
        error: there is no tap `x`
        hint: the taps are item_view, item_presave, item_insert, item_update, item_delete, item_access, cron
        [1]
    "#]],
    );
}

#[test]
fn inspect() {
    let place = Place::new();
    let show = |plugin: &str| {
        let path = component(plugin);
        let output = place.run(&["inspect", path.to_str().unwrap()]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let shown = text(&output.stdout);
        // Figures change with every compiler.
        let measured = ["  size", "  code", "  memory", "  tables"];
        let kept: Vec<&str> =
            shown.lines().skip(1).filter(|line| !measured.iter().any(|one| line.starts_with(one))).collect();
        assert_eq!(shown.lines().count() - kept.len(), 1 + measured.len(), "{shown}");
        kept.join("\n") + "\n"
    };
    expect![[r#"
          package  tapline-plugin-related 0.1.0
          sdk      0.1.0

        taps
        tap        mode  order     fields
        item_view  full  weight 0  tags

        imports
        interface                       needs
        tapline:content/types@0.1.0     no grant
        tapline:host/diagnostics@0.1.0  no grant
        tapline:host/database@0.1.0     the grant `database`
    "#]]
    .assert_eq(&show("related"));
    expect![[r#"
          package  tapline-plugin-reading-time 0.1.0
          sdk      0.1.0

        taps
        tap        mode  order     fields
        item_view  lazy  weight 0  body

        imports
        interface                       needs
        tapline:content/types@0.1.0     no grant
        tapline:host/diagnostics@0.1.0  no grant
    "#]]
    .assert_eq(&show("reading-time"));
    expect![[r#"
          package  tapline-plugin-audit-log 0.1.0
          sdk      0.1.0

        taps
        tap          mode  order       fields
        item_delete  full  weight 100  all
        item_insert  full  weight 100  all
        item_update  full  weight 100  all

        imports
        interface                       needs
        tapline:content/types@0.1.0     no grant
        tapline:host/diagnostics@0.1.0  no grant
        tapline:host/log@0.1.0          no grant
    "#]]
    .assert_eq(&show("audit-log"));
}

#[test]
fn inspect_for_programs() {
    let place = Place::new();
    let path = component("related");
    let output = place.run(&["inspect", "--json", path.to_str().unwrap()]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["package"], "tapline-plugin-related");
    assert_eq!(document["size_bytes"], std::fs::metadata(&path).unwrap().len());
    assert_eq!(document["taps"][0]["tap"], "item_view");
    assert_eq!(document["taps"][0]["record"]["fields"][0], "tags");
    let grants: Vec<&Value> = document["imports"].as_array().unwrap().iter().map(|import| &import["grant"]).collect();
    assert!(grants.contains(&&Value::from("database")), "{document}");
    assert!(document["memory_pages"].as_u64().unwrap() > 0);
    assert!(document["table_elements"].as_u64().unwrap() > 0);
}

#[test]
fn inspect_what_is_no_plugin() {
    let place = Place::new();
    place.write("a.wasm", "text");
    place.check(
        &["inspect", "a.wasm"],
        expect![[r#"
        error: plugin `a` is not WebAssembly: it starts with [74, 65, 78, 74]
        hint: give the path of the `.wasm` file that the plugin's build wrote
        [1]
    "#]],
    );
    place.check(
        &["inspect", "b.wasm"],
        expect![[r#"
            error: cannot read b.wasm
              because: No such file or directory (os error 2)
            hint: give the .wasm file of a plugin
            [1]
        "#]],
    );
}
