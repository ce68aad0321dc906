//! What manual pages say beyond the help.

/// Names, and what they mean.
pub type Entries = Vec<(&'static str, &'static str)>;

/// What one page says beyond the help.
pub struct Sections {
    /// What stands above that which the help says at its end.
    pub after_help: &'static str,
    /// What the exit code says, unless the help does.
    pub exit_status: Option<&'static str>,
    /// Variables that matter.
    pub environment: Entries,
    /// Files that matter.
    pub files: Entries,
    /// Commands, and what they do.
    pub examples: Entries,
}

const URL: (&str, &str) =
    ("THROTTLE_URL", "Where the server is, unless --url says it. Default: http://localhost:8000");

const TOKEN: (&str, &str) = (
    "THROTTLE_ADMIN_TOKEN",
    "What administrative requests are sent with: the admin.token of the server's configuration. \
     There is no such option, for anybody can read the options of a process.",
);

const LOG: (&str, &str) = (
    "THROTTLE_LOG",
    "What a server logs on standard error, such as info or warn,throttle=debug. It goes before \
     the configuration.",
);

const COLOUR: (&str, &str) = (
    "NO_COLOR",
    "If it is set to anything, there are no colours. Elsewhere than on a terminal \
      there are none anyway.",
);

const CONFIGURATION: (&str, &str) =
    ("throttle.toml", "In the working directory: the configuration, unless another one is named.");

const GOOD_OR_BAD: &str = "0 if all went well, 1 with a complaint on standard error if something \
                           did not, 2 if the command line is wrong.";

impl Sections {
    /// Of the page of this subcommand, or of the whole.
    pub fn of(name: &str) -> Self {
        let mut sections = Sections {
            after_help: "NOTES",
            exit_status: Some(GOOD_OR_BAD),
            environment: Vec::new(),
            files: Vec::new(),
            examples: Vec::new(),
        };
        sections.fill(name);
        sections
    }

    /// Of the page of the server, which names all others.
    fn fill_whole(&mut self) {
        self.exit_status = Some(
            "0 if the server was asked to end, by SIGINT (Ctrl+C) or SIGTERM; 130 or 143 if \
             it was asked twice; 1 with a complaint on standard error if it cannot start, 2 \
             if the command line is wrong. Subcommands have their own.",
        );
        self.environment = vec![LOG, URL, TOKEN, COLOUR];
        self.files = vec![CONFIGURATION];
        self.examples = vec![
            ("throttle", "Serve on http://localhost:8000, as throttle.toml has it."),
            ("throttle --address 0.0.0.0 -c /etc/throttle.toml", "Serve all machines."),
            ("throttle run deploy -- make deploy", "One deploy at a time."),
            ("throttle ps", "Show how full the semaphores are."),
        ];
    }

    fn fill(&mut self, name: &str) {
        match name {
            "throttle" => self.fill_whole(),
            "run" => {
                self.after_help = "EXIT STATUS";
                self.exit_status = None;
                self.environment = vec![URL];
                self.examples = vec![
                    ("throttle run deploy -- make deploy", "One deploy at a time."),
                    ("throttle run database=2 A -- ./etl", "With permits of two semaphores."),
                    ("throttle run --if-free backup -- ./backup", "Not if one runs already."),
                ];
            }
            "ps" => {
                self.exit_status = Some(
                    "0 if all went well, 1 with a complaint on standard error if something did \
                     not, 2 if the command line is wrong. 130 if --watch was interrupted.",
                );
                self.environment = vec![URL, COLOUR];
                self.examples = vec![
                    ("throttle ps", "How full the semaphores are."),
                    ("throttle ps --watch A", "Who holds A and who waits for it, every second."),
                    (
                        "throttle ps --json A | jq '.held_by[].peer'",
                        "The ids of those who hold it, for a script.",
                    ),
                ];
            }
            "set" => {
                self.environment = vec![URL, TOKEN];
                self.examples = vec![
                    ("throttle set A 50", "Make it larger; the queue is served at once."),
                    ("throttle set A --pause", "Grant nothing more."),
                    ("throttle set A --undo", "As the configuration has it."),
                ];
            }
            "release" => {
                self.environment = vec![URL, TOKEN];
                self.examples = vec![
                    ("throttle release 42", "Take away all that peer 42 holds."),
                    ("throttle release --revoke 42", "And have it refused if it comes back."),
                ];
            }
            "check" => {
                self.environment = vec![COLOUR];
                self.files = vec![CONFIGURATION];
                self.examples = vec![
                    ("throttle check", "Check throttle.toml in the working directory."),
                    ("throttle check new.toml && kill -HUP PID", "Before it is read again."),
                ];
            }
            "man" => {
                self.examples = vec![
                    ("throttle man | man -l -", "Read this without installing it."),
                    ("throttle man --out ~/.local/share/man/man1", "Install all pages."),
                ];
            }
            _ => {}
        }
    }
}
