//! The functions of the standard library that a cut lies between.
//!
//! Names are compared as people read them, without hashes, because a module holds them in either of Rust's two forms.
//! A name that a newer standard library has given up is simply not found: less is cut.

/// Whether a panic or a failed allocation passes through the function on its way to the end of the program, or to the
/// hook, or whether it is part of the standard hook.
pub(super) fn is_on_the_way_to_a_trap(name: &str) -> bool {
    const PATHS: [&str; 9] = [
        // What `panic!` becomes, in the order of the calls. With link-time optimisation the later ones are part of the
        // earlier ones. `panic_with_hook` calls the hook and aborts. It prints if a hook panics, and if the panic may
        // not leave a function; it aborts after both.
        "__rustc::rust_begin_unwind",
        "std::sys::backtrace::__rust_end_short_backtrace",
        "std::panicking::begin_panic_handler",
        "std::panicking::panic_handler",
        "std::panicking::panic_with_hook",
        "std::panicking::rust_panic_with_hook",
        // Runs where no other hook is set.
        "std::panicking::default_hook",
        // What a failed allocation becomes, and its hook, which no stable function can replace.
        "std::alloc::rust_oom",
        "std::alloc::default_alloc_error_hook",
    ];
    PATHS.iter().any(|path| is_within(name, path))
        // Finds the name of the thread for the standard hook, whose closure is its argument.
        || name.starts_with("std::thread::current::with_current_name::<std::panicking::default_hook")
        || is_display_backtrace(name)
}

/// A type inside the function that prints the backtrace of the standard hook: nobody else can have a value of it.
fn is_display_backtrace(name: &str) -> bool {
    name.trim_start_matches('<').starts_with("std::sys::backtrace::BacktraceLock")
        && name.ends_with("::print::DisplayBacktrace as core::fmt::Display>::fmt")
}

/// Whether the function prints, or finds out what to print and where. On the way to a trap only the standard hook and
/// the words before an abort need it.
pub(super) fn prints(name: &str) -> bool {
    const PRINTERS: [&str; 12] = [
        "std::panicking::default_hook",
        "std::thread::current::with_current_name",
        "std::panic::get_backtrace_style",
        "std::sys::backtrace::lock",
        "std::sys::backtrace::BacktraceLock::print",
        "<std::sys::backtrace::BacktraceLock>::print",
        "std::sys::backtrace::output_filename",
        "std::backtrace_rs",
        "std::env::_var_os",
        "std::env::current_dir",
        "getcwd",
        "std::io::default_write_fmt",
    ];
    PRINTERS.iter().any(|printer| is_within(name, printer)) || is_raw_stderr(name)
}

/// `<std::sys::stdio::unix::Stderr as std::io::Write>::write_fmt` and its like. The module between has had several
/// names. It is not `std::io::Stderr`, which `eprintln!` uses: only words before an abort go here without it.
pub(super) fn is_raw_stderr(name: &str) -> bool {
    name.strip_prefix("<std::sys::")
        .and_then(|rest| rest.split_once("Stderr as std::io::Write>::"))
        .is_some_and(|(modules, _)| modules.ends_with("::") && modules.contains("stdio::"))
}

/// Whether the function does nothing that anybody would miss between such words and the trap: it aborts, or it drops
/// the result of printing.
pub(super) fn leads_to_abort(name: &str) -> bool {
    const ABORTS: [&str; 4] = ["std::process::abort", "__rustc::__rust_abort", "__rust_abort", "abort"];
    ABORTS.contains(&name)
        || (name.starts_with("std::sys::") && name.ends_with("::abort_internal"))
        || (name.starts_with("core::ptr::drop_in_place") && name.ends_with("<(), std::io::error::Error>>"))
}

/// Whether `name` is `path` or something in it: a closure, or one of its generic forms.
fn is_within(name: &str, path: &str) -> bool {
    name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_trap() {
        for name in [
            "std::panicking::panic_with_hook",
            "std::panicking::default_hook",
            "std::panicking::default_hook::{closure#0}",
            "std::panicking::default_hook::{{closure}}",
            "std::thread::current::with_current_name::<std::panicking::default_hook::{closure#0}::{closure#0}, ()>::{closure#0}",
            "std::sys::backtrace::__rust_end_short_backtrace::<std::alloc::rust_oom::{closure#0}, !>",
            "<<std::sys::backtrace::BacktraceLock>::print::DisplayBacktrace as core::fmt::Display>::fmt",
            "<std::sys::backtrace::BacktraceLock::print::DisplayBacktrace as core::fmt::Display>::fmt",
        ] {
            assert!(is_on_the_way_to_a_trap(name), "{name}");
        }
        for name in [
            "std::panicking::default_hooks",
            "std::io::stdio::_eprint",
            "mine::std::panicking::default_hook",
            "std::panicking::set_hook",
            "tapline_sdk::bindings::report",
        ] {
            assert!(!is_on_the_way_to_a_trap(name), "{name}");
        }
    }

    #[test]
    fn what_prints() {
        for name in [
            "std::panic::get_backtrace_style",
            "<std::sys::stdio::unix::Stderr as std::io::Write>::write_fmt",
            "<std::sys::pal::wasi::stdio::Stderr as std::io::Write>::write_all",
            "getcwd",
        ] {
            assert!(prints(name), "{name}");
        }
        for name in [
            "<std::io::stdio::Stderr as std::io::Write>::write_fmt",
            "<mine::Stderr as std::io::Write>::write_fmt",
            "core::fmt::write",
            "getcwd_or_panic",
            "std::process::abort",
        ] {
            assert!(!prints(name), "{name}");
        }
    }

    #[test]
    fn what_leads_to_an_abort() {
        for name in [
            "std::process::abort",
            "std::sys::pal::wasi::helpers::abort_internal",
            "core::ptr::drop_in_place::<core::result::Result<(), std::io::error::Error>>",
        ] {
            assert!(leads_to_abort(name), "{name}");
        }
        for name in ["abort_order", "core::ptr::drop_in_place::<mine::Guard>", "tapline_sdk::bindings::report"] {
            assert!(!leads_to_abort(name), "{name}");
        }
    }
}
