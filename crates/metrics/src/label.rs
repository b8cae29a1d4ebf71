//! The label values that are known beforehand.

/// Defines an enum together with the list of its values and their label texts, so that there is one list of each.
macro_rules! label_values {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $( $(#[$value_meta:meta])* $value:ident => $text:literal, )* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $( $(#[$value_meta])* $value, )* }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[ $( Self::$value, )* ];

            /// The text of the label.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$value => $text, )* }
            }
        }
    };
}

label_values! {
    /// How one call of one handler ended.
    pub enum Outcome {
        /// The guest answered, and the answer was accepted.
        Ok => "ok",
        /// The guest returned an error.
        GuestError => "guest_error",
        /// The guest trapped: unreachable code, access out of bounds, division by zero and the like.
        Trap => "trap",
        /// The guest panicked and said so before it trapped.
        Panic => "panic",
        /// The deadline of the call passed.
        Timeout => "timeout",
        /// The fuel of the call was used up.
        OutOfFuel => "out_of_fuel",
        /// The guest wanted more memory than it may have, and gave up.
        OutOfMemory => "out_of_memory",
        /// The guest's stack was full.
        StackOverflow => "stack_overflow",
        /// The guest answered something that the host refuses.
        BadAnswer => "bad_answer",
        /// A host function failed.
        HostError => "host_error",
        /// No instance became free in time.
        Overloaded => "overloaded",
        /// The circuit breaker was open: the guest was not called.
        BreakerOpen => "breaker_open",
        /// The caller went away before there was an answer.
        Cancelled => "cancelled",
        /// There were too many calls around it already, so it was not made.
        TooDeep => "too_deep",
        /// The plugin's code could not be brought, so it was not made.
        NotLoaded => "not_loaded",
        /// The host takes no new calls because it is stopping.
        ShuttingDown => "shutting_down",
    }
}

label_values! {
    /// Where a compiled plugin came from.
    pub enum CacheLevel {
        /// It was in memory.
        Memory => "memory",
        /// It was mapped from the disk.
        Disk => "disk",
        /// It was nowhere, and was compiled.
        Compiled => "compiled",
    }
}

label_values! {
    /// Why a plugin was refused when it was loaded, or when its code was brought.
    pub enum LoadRefused {
        /// Its file cannot be read, or is another one than before.
        Read => "read",
        /// It is no component, or a damaged one.
        Invalid => "invalid",
        /// It imports what this host does not offer.
        Import => "import",
        /// It imports what the operator has not granted, or has denied.
        NotGranted => "not_granted",
        /// What the operator grants it does not exist here, or is refused.
        Grant => "grant",
        /// It exports nothing that this host calls, or with another signature.
        Export => "export",
        /// It needs more than a limit allows.
        TooLarge => "too_large",
        /// It does not compile.
        Compile => "compile",
        /// A limit of compilation stopped it.
        CompileLimit => "compile_limit",
        /// Its first instance could not be made.
        Start => "start",
        /// Its place in the order of a tap cannot be.
        Order => "order",
        /// Its settings contradict themselves, or the host's.
        Setting => "setting",
        /// There is one of its name already, or none to be replaced.
        Name => "name",
        /// The host had no room for it at this moment.
        Busy => "busy",
        /// The engine does not take it.
        Engine => "engine",
    }
}

label_values! {
    /// Which limit of compilation a plugin ran into.
    pub enum CompilationRefused {
        /// The component, or a function in it, is too large.
        Size => "size",
        /// The compiler was not done in time.
        Time => "time",
        /// The compiler took too much memory.
        Memory => "memory",
        /// As many compilations as there may be were running for all the time that there was.
        Busy => "busy",
    }
}

label_values! {
    /// What comes before a call can begin. Each has figures of its own: no sum of them is called a start without saying of
    /// which.
    pub enum Stage {
        /// From the start of the program until it serves.
        ProcessStart => "process start",
        /// Making machine code of a plugin.
        Compile => "compile",
        /// Finding a plugin's compiled code on disk, checking and mapping it.
        LoadArtifact => "load artifact",
        /// Making an instance.
        InstantiateFresh => "instantiate fresh",
        /// Taking an instance that was made ahead.
        TakeFromStock => "take from stock",
    }
}

label_values! {
    /// How important a guest's log line says that it is.
    pub enum LogLevel {
        /// Every step.
        Trace => "trace",
        /// For somebody who looks for a fault.
        Debug => "debug",
        /// What happened.
        Info => "info",
        /// Something is odd.
        Warn => "warn",
        /// Something failed.
        Error => "error",
    }
}

label_values! {
    /// Where a host runs, as P8 has it.
    pub enum Surface {
        /// Near its visitors.
        Edge => "edge",
        /// Started for a request.
        Serverless => "serverless",
        /// A program that goes on running.
        Server => "server",
    }
}

impl std::str::FromStr for Surface {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|surface| surface.as_str() == text).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|surface| surface.as_str()).collect();
            format!("it is one of {}", known.join(", "))
        })
    }
}

/// What the labels `surface` and `service` say: the same for all that one host records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Where the host runs. Defaults to [`Surface::Server`].
    pub surface: Surface,
    /// What the host is called. Defaults to `tapline`.
    pub service: String,
}

impl Default for Deployment {
    fn default() -> Self {
        Self { surface: Surface::Server, service: "tapline".to_owned() }
    }
}
