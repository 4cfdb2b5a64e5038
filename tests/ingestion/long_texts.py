"""A program whose classes, and a handbook whose sections, are longer than a chunk, with questions about both.

All classes have the same methods, and all sections the same topics, so that only the name of the class or section says
which one a piece is about. Each answer stands in the text once.
"""

from collections.abc import Iterator
from textwrap import fill

#: By class: its docstring, and by method the sentence that differs.
CLASSES = {
    "BerthPlanner": (
        "Assigns ships to berths.",
        {
            "load": "Reads the arrivals from berths.csv, which the pilot office writes at 05:40.",
            "validate": "A ship longer than 214 metres is refused.",
            "reserve": "A reservation is held for 35 minutes.",
            "retry": "Tries 6 times, and doubles the pause from 250 milliseconds.",
            "cancel": "A cancelled ship goes to the end of the waiting list.",
            "export": "Writes the plan as an iCalendar file.",
            "notify": "Sends a text message to the harbour master.",
            "purge": "Drops plans that are older than 18 months.",
            "lock": "Takes the advisory lock number 4711.",
            "report": "Counts the ships by flag.",
        },
    ),
    "TugDispatcher": (
        "Sends tugs to ships.",
        {
            "load": "Reads the crews from the roster service on port 8092.",
            "validate": "A crew that has worked for 11 hours is refused.",
            "reserve": "A reservation is held for 90 seconds.",
            "retry": "Tries 3 times, with a pause of 7 seconds.",
            "cancel": "A cancelled tug returns to the fuel dock.",
            "export": "Writes the orders as Protocol Buffers.",
            "notify": "Calls the captain over radio channel 73.",
            "purge": "Drops orders that are older than 4 days.",
            "lock": "Takes a lease in Consul, named after the tug.",
            "report": "Sums the burnt diesel by engine.",
        },
    ),
    "CargoLedger": (
        "Books containers in and out.",
        {
            "load": "Reads the manifests from the bucket harbour-manifests.",
            "validate": "A container without a customs seal is refused.",
            "reserve": "A reservation is held until midnight UTC.",
            "retry": "Never tries again, but moves the entry to the dead letters.",
            "cancel": "A cancelled booking is reversed by a second entry.",
            "export": "Writes the ledger as Parquet, one file for each day.",
            "notify": "Posts a webhook to the freight forwarder.",
            "purge": "Keeps entries for ten years, as the tax law demands.",
            "lock": "Takes the row of the container with SELECT FOR UPDATE.",
            "report": "Lists the containers by their weight in tonnes.",
        },
    ),
}
METHOD = '''
    def {name}(self, entries, *, now=None, limit=100, dry_run=False):
        """{Name} the given entries.

        {fact}

        The entries are taken in the order of their numbers, at most `limit` of them. With `dry_run` nothing is
        changed, and the result says what would have been. Raises ValueError for an entry without a number.
        """
        now = now or self.clock()
        done, left = [], sorted(entries, key=lambda entry: entry.number)[:limit]
        for entry in left:
            if entry.number is None:
                raise ValueError(f"the entry {{entry!r}} has no number")
            if entry.changed_at and entry.changed_at > now:
                self.log.warning("%s: changed in the future, skipped", entry.number)
                continue
            if not dry_run:
                with self.connection() as connection:
                    connection.execute(self.statements["{name}"], entry.as_row(), timeout=self.timeout)
                    self.metrics.count("{name}", kind=entry.kind, place=entry.place)
            done.append(entry)
        self.log.info("{name}: %d of %d entries are done", len(done), len(left))
        return done
'''


def build_program() -> str:
    return '"""The software of the harbour."""\n\nimport logging\n' + "".join(map(build_class, CLASSES))


def build_class(name: str) -> str:
    docstring, facts = CLASSES[name]
    methods = (METHOD.format(name=method, Name=method.capitalize(), fact=fact) for method, fact in facts.items())
    return f'\n\nclass {name}(Service):\n    """{docstring}"""\n' + "".join(methods)


PROGRAM_QUESTIONS = {
    "How often does BerthPlanner retry?": "Tries 6 times",
    "How often does TugDispatcher retry?": "Tries 3 times",
    "What does CargoLedger do instead of a retry?": "dead letters",
    "How long does TugDispatcher hold a reservation?": "90 seconds",
    "How long does the CargoLedger hold a reservation?": "until midnight UTC",
    "Which ships does BerthPlanner.validate refuse?": "214 metres",
    "In which format does TugDispatcher export?": "Protocol Buffers",
    "CargoLedger export format": "as Parquet",
    "Whom does the notify method of CargoLedger inform?": "freight forwarder",
    "When does BerthPlanner purge old plans?": "18 months",
}

#: By section: by topic the sentence that differs.
SECTIONS = {
    "Night shift": {
        "Keys": "The keys hang in the grey cupboard behind the boiler.",
        "Radio": "The watch listens on channel 12.",
        "Breaks": "There are two breaks of 25 minutes.",
        "Weather": "Work stops at a wind of 17 metres a second.",
        "Accidents": "An accident is reported to Doctor Okafor first.",
        "Waste": "Waste is collected at half past four.",
        "Guests": "Guests need the signature of the shift leader.",
        "Tools": "A lost tool is written into the red book.",
        "Payment": "The allowance is 38 euros for each shift.",
        "Handover": "The handover takes place in the canteen.",
    },
    "Fuel dock": {
        "Keys": "The keys are kept in the safe of the pump house.",
        "Radio": "The dock listens on channel 9.",
        "Breaks": "There is one break of 50 minutes, taken in turns.",
        "Weather": "Work stops when lightning is seen within 8 kilometres.",
        "Accidents": "An accident is reported to the fire brigade first.",
        "Waste": "Oily rags go into the yellow drums.",
        "Guests": "Guests leave their telephones at the gate.",
        "Tools": "Only tools of bronze are allowed.",
        "Payment": "The allowance is 5 per cent of the wage.",
        "Handover": "The handover begins with a reading of the meters.",
    },
    "Crane yard": {
        "Keys": "The keys are handed out against a brass token.",
        "Radio": "The yard listens on channel 31.",
        "Breaks": "A driver rests for 15 minutes after every two hours.",
        "Weather": "Work stops when the hook sways more than a metre.",
        "Accidents": "An accident is reported to the works council first.",
        "Waste": "Old ropes are cut up and sold to the chandler.",
        "Guests": "Guests wear a green helmet.",
        "Tools": "Slings are tested every 13 weeks.",
        "Payment": "The allowance grows with the height of the crane.",
        "Handover": "The handover is signed on the tablet in cabin two.",
    },
    "Visitor pier": {
        "Keys": "The keys are with the lady of the ticket office.",
        "Radio": "The pier has no radio and uses the telephone 5566.",
        "Breaks": "The break is when the ferry is away.",
        "Weather": "The pier closes when the waves reach the third step.",
        "Accidents": "An accident is reported to the lifeguard first.",
        "Waste": "Bottles are returned to the kiosk.",
        "Guests": "School classes come before ten o'clock.",
        "Tools": "The life belts are counted every Monday.",
        "Payment": "The allowance is a season ticket for the ferry.",
        "Handover": "The handover is a note in the glass bottle.",
    },
}
PARAGRAPH = (
    "This paragraph is about {topic}. {fact} What is said here holds for everybody who works in this place, whether "
    "for a day or for a year, and for those who help out from elsewhere. In a case of doubt the older colleague "
    "decides, and the younger one may ask why. Whoever finds that the rule does not fit writes a line about {topic} "
    "into the book on the desk, with the date and a name that can be read. The committee goes through these lines on "
    "the first Tuesday of the month and answers each of them. Until then the rule stays as it is, because a rule that "
    "everybody bends is worse than one that is a little wrong. New colleagues are shown on their first morning what "
    "is meant, and once more after four weeks, since nobody remembers everything of a first morning."
)


def build_handbook() -> str:
    return "# Handbook of the harbour\n\n" + "\n\n".join(build_section(name) for name in SECTIONS) + "\n"


def build_section(name: str) -> str:
    return "\n\n".join([f"## {name}", *iter_paragraphs(name)])


def iter_paragraphs(name: str) -> Iterator[str]:
    for topic, fact in SECTIONS[name].items():
        yield fill(PARAGRAPH.format(topic=topic.lower(), fact=fact), 100)


HANDBOOK_QUESTIONS = {
    "Where are the keys of the night shift?": "grey cupboard",
    "Where does the handover of the night shift take place?": "canteen",
    "What is the allowance of the night shift?": "38 euros",
    "Who hears of an accident at the fuel dock first?": "fire brigade",
    "Which tools may be used at the fuel dock?": "bronze",
    "What allowance is paid at the fuel dock?": "5 per cent",
    "What happens to waste in the crane yard?": "chandler",
    "Where is the handover of the crane yard signed?": "cabin two",
    "How are life belts at the visitor pier looked after?": "every Monday",
    "What is the allowance at the visitor pier?": "season ticket",
}
