//! What an operator is told.

use expect_test::expect;

use crate::{Place, component};

#[test]
fn the_configuration() {
    let place = Place::new();
    place.write("tapline.toml", "[server]\nlisetn = \"x\"\n");
    place.check(
        &["plugins"],
        expect![[r#"
        error: tapline.toml:2: nothing is called `server.lisetn`
        hint: did you mean `server.listen`?
        [2]
    "#]],
    );
    place.write("tapline.toml", "[host.limits]\nmax_execution_time_ms = 0\n");
    place.check(
        &["plugins"],
        expect![[r#"
            error: tapline.toml:2: `host.limits.max_execution_time_ms`: `max_execution_time_ms` is 0, it has to be 1 to 86400000
            [2]
        "#]],
    );
    place.check(
        &["plugins", "--config", "missing.toml"],
        expect![[r#"
        error: cannot read the configuration missing.toml
          because: No such file or directory (os error 2)
        hint: give its path with --config, or leave it out for the defaults
        [2]
    "#]],
    );
    place.write("tapline.toml", "");
    place.check(
        &["plugins", "--log", "info,=x=y"],
        expect![[r#"
            error: `log.filter` = info,=x=y (flag --log) is refused: it takes a level such as info, or a filter such as info,tapline_host_core=debug
            [2]
        "#]],
    );
    for arguments in [&["config", "--log", "nonsense=x"], &["config", "--listen", "bogus"]] {
        assert_eq!(place.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    place.write("tapline.toml", "[log]\nfilter = \"x=y\"\n");
    place.check(&["plugins"], expect![[r#"
        error: `log.filter` = x=y (tapline.toml:2) is refused: it takes a level such as info, or a filter such as info,tapline_host_core=debug
        [2]
    "#]]);
    place.write("tapline.toml", "[host]\nplugin_share_percent = 200\n");
    place.check(
        &["plugins"],
        expect![[r#"
        error: `host.plugin_share_percent` = 200 (tapline.toml:2) is refused: a share is 1 to 100 percent
        [2]
    "#]],
    );
    place.check(
        &["config"],
        expect![[r#"
        error: `host.plugin_share_percent` = 200 (tapline.toml:2) is refused: a share is 1 to 100 percent
        [2]
    "#]],
    );
    place.write("tapline.toml", "");
    place.check(
        &["plugins"],
        expect![[r#"
        no plugins are configured

        [0]
    "#]],
    );
    assert!(!place.path().join("tapline.db").exists(), "looking at plugins makes no database");
}

#[test]
fn plugins_that_are_refused_are_all_named() {
    let place = Place::new();
    place.write("text.wasm", "This is not WebAssembly.");
    place.write("module.wasm", b"\0asm\x01\0\0\0");
    // In the middle of the head of a section, so that the offset does not depend on the compiler.
    place.write("cut.wasm", &std::fs::read(component("seo")).unwrap()[..9]);
    let mut config = String::from("[host]\npool_size = 10\n");
    for name in ["text", "module", "cut", "missing"] {
        config += &format!("[plugins.{name}]\npath = \"{name}.wasm\"\n");
    }
    config += &format!("[plugins.related]\npath = \"{}\"\n", component("related").display());
    config += &format!(
        "[plugins.wrong-grant]\npath = \"{}\"\ngrants = {{ database = \"write\" }}\n",
        component("related").display()
    );
    let seo = component("seo");
    for (name, order) in [("odd-order", "item_wiew"), ("other-order", "item_access")] {
        config += &format!("[plugins.{name}]\npath = \"{}\"\norder.{order}.last = true\n", seo.display());
    }
    config += &format!(
        "[plugins.misspelt]\npath = \"{}\"\ngrants = {{ databas = \"read\" }}\n",
        component("related").display()
    );
    config += &format!("[plugins.odd-grant]\npath = \"{}\"\ngrants = {{ mail = true }}\n", component("seo").display());
    place.write("tapline.toml", config);
    place.check(
        &["serve"],
        expect![[r#"
            error: plugin `cut` is damaged or uses what plugins may not use, at byte 0x9: unexpected end-of-file
            hint: build the plugin again, and copy the whole file
            error: tapline.toml:10: plugin `missing`: cannot read missing.wasm
              because: No such file or directory (os error 2)
            error: tapline.toml:24: plugin `misspelt`: no capability is called `databas`; this host has `database`, `environment`, `files`, `network`, `clocks`, `random`
            hint: did you mean `database`?
            error: plugin `module` is a core module, not a component
            hint: build it with `cargo xtask build-plugins`, which turns the module into a component
            error: tapline.toml:27: plugin `odd-grant`: no capability is called `mail`; this host has `database`, `environment`, `files`, `network`, `clocks`, `random`
            error: tapline.toml:18: plugin `odd-order`: `order` speaks of the tap `item_wiew`, and this host has none of that name
            hint: did you mean `item_view`?
            error: tapline.toml:21: plugin `other-order`: `order` speaks of the tap `item_access`, which the plugin does not implement
            hint: take it out; the plugin implements `item_view`
            error: plugin `related`: disallowed import: tapline:host/database@0.1.0 needs the grant `database`
            hint: if you trust the plugin with it, add under [plugins.related] in tapline.toml: grants = { database = "read" }
            error: plugin `text` is not WebAssembly: it starts with [54, 68, 69, 73, 20, 69, 73, 20]
            hint: give the path of the `.wasm` file that the plugin's build wrote
            error: tapline.toml:15: plugin `wrong-grant`: the value of the grant `database` is refused: it takes "read", not "write"
            [1]
        "#]],
    );
}

#[test]
fn the_order_of_a_tap() {
    let place = Place::new();
    place.configure(
        &["seo", "reading-time"],
        "[plugins.seo.order.item_view]\nafter = [\"reading-time\"]\n\
         [plugins.reading-time.order.item_view]\nafter = [\"seo\"]\n",
    );
    place.check(&["explain", "item_view"], expect![[r#"
        error: the order of tap `item_view` has a cycle: reading-time before seo before reading-time (`seo` declares after `reading-time`, `reading-time` declares after `seo`)
        [1]
    "#]]);
}

#[test]
fn the_database() {
    let place = Place::new();
    place.configure(&[], "");
    place.check(
        &["import", ".", "--database", "sqlite:missing/site.db"],
        expect![[r#"
        error: the directory missing does not exist
        hint: make it: mkdir -p missing
        [1]
    "#]],
    );
    place.check(
        &["import", ".", "--database", "postgres://localhost"],
        expect![[r#"
        error: `postgres://localhost` is not the address of a SQLite database
        hint: write it as `sqlite:path/to/file.db`
        [1]
    "#]],
    );
    place.write("letter.db", "This is a letter. ".repeat(100));
    place.check(
        &["import", ".", "--database", "sqlite:letter.db"],
        expect![[r#"
        error: letter.db is not a SQLite database, or it is damaged
          because: error returned from database: (code: 26) file is not a database
        hint: give another path, or move the file away and import again
        [1]
    "#]],
    );
    place.check(
        &["render", "a"],
        expect![[r#"
        error: the database tapline.db cannot be opened
          because: error returned from database: (code: 14) unable to open database file
        hint: check that it is there, and that you may write to it; `tapline import` makes one
        [1]
    "#]],
    );
    place.check(
        &["import", "."],
        expect![[r#"
            0 items: 0 new, 0 changed, 0 as before; 0 could not be imported

            [0]
        "#]],
    );
    place.check(
        &["render", "a"],
        expect![[r#"
        error: there is no item `a`
        [1]
    "#]],
    );
}

#[test]
fn the_address() {
    let place = Place::new();
    place.configure(&[], "");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = place.run(&["serve", "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    place.check(
        &["serve", "--listen", "bogus"],
        expect![[r#"
        error: `server.listen` = bogus (flag --listen) is refused: it is no ADDRESS:PORT such as 127.0.0.1:8380
        [2]
    "#]],
    );
    place.check(
        &["serve", "--listen", "192.0.2.1:1"],
        expect![[r#"
        error: cannot listen on 192.0.2.1:1
          because: Cannot assign requested address (os error 99)
        hint: choose an address of this machine with --listen, such as 127.0.0.1:8380
        [1]
    "#]],
    );
    let stderr = crate::text(&output.stderr).replace(&address, "ADDRESS");
    expect![[r#"
        error: cannot listen on ADDRESS
          because: Address already in use (os error 98)
        hint: another program listens there: choose an address with --listen, port 0 for a free one
    "#]]
    .assert_eq(&stderr);
}

#[test]
fn the_command_line() {
    let place = Place::new();
    assert_eq!(place.run(&["server"]).status.code(), Some(2));
    assert_eq!(place.run(&["import"]).status.code(), Some(2));
    assert_eq!(place.run(&[]).status.code(), Some(2));
}
