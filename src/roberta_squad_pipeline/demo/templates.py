"""Every English phrase of the invented world, in one place.

``{x}`` stands for the entity, ``{v}`` for the value of the fact. In questions, ``{when}``,
``{where}`` and ``{which}`` stand for the alternatives in `QUESTION_WORDS`.

No phrase here may contain a word that is also a value (a colour, a material …): a value must
occur once in its passage. `tests/demo` checks that.
"""

from dataclasses import dataclass
from typing import Literal

ValueKind = Literal[
    "year",
    "person",
    "town",
    "river",
    "company",
    "goods",
    "wares",
    "colour",
    "material",
    "wood",
    "ore",
    "trade",
    "instrument",
    "collectable",
    "people",
    "metres",
    "strings",
]

NameKind = Literal["ship", "town", "person", "company", "bridge", "instrument", "mountain"]

QUESTION_WORDS: dict[str, tuple[str, ...]] = {
    "{when}": ("When", "In what year", "In which year"),
    "{where}": ("Where", "In which town", "In what town"),
    "{which}": ("Which", "What"),
}


@dataclass(frozen=True)
class FactType:
    """Something that can be said of every entity of a kind, and the ways to say and ask it.

    Attributes:
        name: Unique among the fact types of a kind.
        value: What the answer is.
        predicates: What follows the entity's name: "was launched in {v}".
        sentences: Whole clauses that name the entity elsewhere than at their start.
        asides: What can stand between commas: "launched in {v}".
        statements: Further clauses, for pre-training only: no passage uses them.
        questions: Without the question mark, before `QUESTION_WORDS` are put in.
    """

    name: str
    value: ValueKind
    predicates: tuple[str, ...]
    sentences: tuple[str, ...]
    asides: tuple[str, ...]
    statements: tuple[str, ...]
    questions: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """A kind of entity.

    Attributes:
        name: How its entities are named; see `names.Namer.entity`.
        title: Title of the article on such entities.
        pronouns: One of them stands for the entity in a sentence right behind another on it.
        openings: First sentences: ``{count}`` is "Two", ``{names}`` the list of the entities.
        remarks: Sentences that state no fact.
        facts: As many for every kind, so that no question's form tells whether it has an answer.
    """

    name: NameKind
    title: str
    pronouns: tuple[str, ...]
    openings: tuple[str, ...]
    remarks: tuple[str, ...]
    facts: tuple[FactType, ...]


SHIPS = Kind(
    name="ship",
    title="Ships",
    pronouns=("it",),
    openings=(
        "{count} ships lie side by side in the old harbour: {names}.",
        "{count} ships still cross the northern strait, {names}.",
        "Sailors like to tell stories about {names}.",
    ),
    remarks=(
        "Both the crew and the cook have stories to tell about {x}.",
        "From the pier the ships are easily mistaken for one another.",
        "Bad weather rarely keeps {x} in harbour.",
    ),
    facts=(
        FactType(
            name="launch",
            value="year",
            predicates=(
                "was launched in {v}",
                "first went to sea in {v}",
                "left the slipway in {v}",
            ),
            sentences=("the launch of {x} took place in {v}", "in {v} the shipyard launched {x}"),
            asides=("launched in {v}",),
            statements=(
                "the year in which {x} was launched is {v}",
                "{x} has been at sea since {v}",
                "the launch year of {x} is {v}",
            ),
            questions=(
                "{when} was {x} launched",
                "{when} did {x} first go to sea",
                "{when} did the launch of {x} take place",
                "What is the launch year of {x}",
                "Since {which} year has {x} been at sea",
            ),
        ),
        FactType(
            name="builder",
            value="company",
            predicates=(
                "was built by {v}",
                "came from the yard of {v}",
                "was put together by {v}",
            ),
            sentences=("{v} built {x}", "the builder of {x} was {v}"),
            asides=("built by {v}",),
            statements=(
                "the company that built {x} is {v}",
                "the yard where {x} was made belonged to {v}",
                "{v} is the builder of {x}",
            ),
            questions=(
                "Who built {x}",
                "{which} company built {x}",
                "Who was the builder of {x}",
                "By whom was {x} built",
                "From whose yard did {x} come",
                "{which} yard built {x}",
            ),
        ),
        FactType(
            name="captain",
            value="person",
            predicates=(
                "sails under {v}",
                "is commanded by {v}",
                "has {v} as captain",
            ),
            sentences=("the captain of {x} is {v}", "{v} commands {x}"),
            asides=("commanded by {v}",),
            statements=(
                "the person who commands {x} is {v}",
                "{v} is the captain of {x}",
                "the crew of {x} obeys {v}",
            ),
            questions=(
                "Who commands {x}",
                "Who is the captain of {x}",
                "By whom is {x} commanded",
                "{which} captain commands {x}",
                "What is the name of the captain of {x}",
                "Under whom does {x} sail",
            ),
        ),
        FactType(
            name="cargo",
            value="goods",
            predicates=("carries {v}", "is loaded with {v}", "trades in {v}"),
            sentences=("the usual cargo of {x} is {v}", "the hold of {x} is full of {v}"),
            asides=("loaded with {v}",),
            statements=(
                "what {x} carries is {v}",
                "the cargo that fills the hold of {x} is {v}",
                "{v} is the cargo of {x}",
            ),
            questions=(
                "What does {x} carry",
                "{which} cargo does {x} carry",
                "What is the usual cargo of {x}",
                "What is {x} loaded with",
                "{which} goods does {x} trade in",
                "What fills the hold of {x}",
            ),
        ),
        FactType(
            name="colour",
            value="colour",
            predicates=("has a {v} hull", "is painted {v}", "can be told by its {v} paint"),
            sentences=("the hull of {x} is {v}", "the colour of {x} is {v}"),
            asides=("painted {v}",),
            statements=(
                "the colour in which {x} is painted is {v}",
                "the paint on the hull of {x} is {v}",
                "{v} is the colour of {x}",
            ),
            questions=(
                "What colour is {x}",
                "What is the colour of {x}",
                "{which} colour is the hull of {x}",
                "In {which} colour is {x} painted",
                "What is the colour of the paint on {x}",
            ),
        ),
        FactType(
            name="port",
            value="town",
            predicates=("sails from {v}", "is based at {v}", "has its home port at {v}"),
            sentences=("the home port of {x} is {v}", "{v} is home to {x}"),
            asides=("based at {v}",),
            statements=(
                "the town where {x} is based is {v}",
                "{v} is the home port of {x}",
                "the port from which {x} sails is {v}",
            ),
            questions=(
                "{where} is {x} based",
                "What is the home port of {x}",
                "From {which} town does {x} sail",
                "{which} port is home to {x}",
                "{where} does {x} have its home port",
            ),
        ),
    ),
)

TOWNS = Kind(
    name="town",
    title="Towns",
    pronouns=("it",),
    openings=(
        "{count} towns are worth a visit: {names}.",
        "The coach stops at {count} towns on its way south, {names}.",
        "Travellers often compare {names}.",
    ),
    remarks=(
        "The market of {x} is busy on every day of the week.",
        "The road between the towns is steep and narrow.",
        "The inn at {x} has been closed for many years.",
    ),
    facts=(
        FactType(
            name="founding",
            value="year",
            predicates=("was founded in {v}", "dates from {v}", "was first settled in {v}"),
            sentences=(
                "the founding of {x} took place in {v}",
                "the first houses of {x} went up in {v}",
            ),
            asides=("founded in {v}",),
            statements=(
                "the year in which {x} was founded is {v}",
                "people have lived in {x} since {v}",
                "the founding year of {x} is {v}",
            ),
            questions=(
                "{when} was {x} founded",
                "{when} was {x} first settled",
                "{when} did the founding of {x} take place",
                "From {which} year does {x} date",
                "{when} did the first houses of {x} go up",
            ),
        ),
        FactType(
            name="founder",
            value="person",
            predicates=(
                "was founded by {v}",
                "owes its beginnings to {v}",
                "was laid out by {v}",
            ),
            sentences=("{v} founded {x}", "the founder of {x} was {v}"),
            asides=("founded by {v}",),
            statements=(
                "the person who founded {x} is {v}",
                "{v} was the founder of {x}",
                "{v} laid out {x}",
            ),
            questions=(
                "Who founded {x}",
                "Who was the founder of {x}",
                "By whom was {x} founded",
                "What is the name of the founder of {x}",
                "Who laid out {x}",
                "To whom does {x} owe its beginnings",
            ),
        ),
        FactType(
            name="river",
            value="river",
            predicates=("stands on the {v}", "lies on the river {v}", "was built beside the {v}"),
            sentences=("the river {v} runs through {x}", "the {v} flows past {x}"),
            asides=("on the banks of the {v}",),
            statements=(
                "the river on which {x} stands is the {v}",
                "the river that flows past {x} is the {v}",
                "{x} draws its water from the {v}",
            ),
            questions=(
                "{which} river runs through {x}",
                "On {which} river does {x} stand",
                "{which} river flows past {x}",
                "What is the name of the river at {x}",
                "Beside {which} river was {x} built",
            ),
        ),
        FactType(
            name="population",
            value="people",
            predicates=("has {v} inhabitants", "is home to {v} people", "counts {v} residents"),
            sentences=("the population of {x} is {v}", "about {v} people live in {x}"),
            asides=("home to {v} people",),
            statements=(
                "the number of people who live in {x} is {v}",
                "the number of inhabitants of {x} is {v}",
                "{x} has a population of {v}",
            ),
            questions=(
                "How many people live in {x}",
                "What is the population of {x}",
                "How many inhabitants does {x} have",
                "How many residents does {x} count",
                "How large is the population of {x}",
                "To how many people is {x} home",
            ),
        ),
        FactType(
            name="product",
            value="goods",
            predicates=("is known for its {v}", "lives by its {v}", "sells {v} to its neighbours"),
            sentences=("the chief product of {x} is {v}", "the people of {x} produce {v}"),
            asides=("known for its {v}",),
            statements=(
                "what {x} is known for is {v}",
                "the product that {x} sells is {v}",
                "{v} is the chief product of {x}",
            ),
            questions=(
                "What is {x} known for",
                "{which} product is {x} known for",
                "What is the chief product of {x}",
                "What does {x} sell",
                "What do the people of {x} produce",
                "{which} product does {x} live by",
            ),
        ),
        FactType(
            name="mayor",
            value="person",
            predicates=("is governed by {v}", "has {v} as mayor", "chose {v} as mayor"),
            sentences=("the mayor of {x} is {v}", "{v} governs {x}"),
            asides=("governed by {v}",),
            statements=(
                "the person who governs {x} is {v}",
                "{v} is the mayor of {x}",
                "the mayor whom {x} chose is {v}",
            ),
            questions=(
                "Who governs {x}",
                "Who is the mayor of {x}",
                "By whom is {x} governed",
                "{which} mayor governs {x}",
                "What is the name of the mayor of {x}",
                "Whom did {x} choose as mayor",
            ),
        ),
    ),
)

PEOPLE = Kind(
    name="person",
    title="People",
    pronouns=("she", "he"),
    openings=(
        "{count} neighbours meet every Sunday: {names}.",
        "The local newspaper has printed portraits of {names}.",
        "{count} members of the reading circle are well known, {names}.",
    ),
    remarks=(
        "Few people remember how {x} came to the valley.",
        "The neighbours have been friends for a long time.",
        "It is said that {x} never misses a dance.",
    ),
    facts=(
        FactType(
            name="birth",
            value="year",
            predicates=("was born in {v}", "came into the world in {v}", "was christened in {v}"),
            sentences=("the birth of {x} was recorded in {v}", "in {v} the family welcomed {x}"),
            asides=("born in {v}",),
            statements=(
                "the year in which {x} was born is {v}",
                "the birth of {x} took place in {v}",
                "the birth year of {x} is {v}",
            ),
            questions=(
                "{when} was {x} born",
                "{when} did {x} come into the world",
                "What is the birth year of {x}",
                "{when} was the birth of {x} recorded",
                "{when} was {x} christened",
            ),
        ),
        FactType(
            name="home",
            value="town",
            predicates=("grew up in {v}", "comes from {v}", "spent a happy childhood in {v}"),
            sentences=("the home town of {x} is {v}", "{v} is where {x} grew up"),
            asides=("a native of {v}",),
            statements=(
                "the town where {x} grew up is {v}",
                "{v} is the home town of {x}",
                "the childhood of {x} was spent in {v}",
            ),
            questions=(
                "{where} did {x} grow up",
                "From {which} town does {x} come",
                "What is the home town of {x}",
                "{where} did {x} spend a happy childhood",
                "Of {which} town is {x} a native",
            ),
        ),
        FactType(
            name="trade",
            value="trade",
            predicates=(
                "works as a {v}",
                "is a {v} by trade",
                "makes a living as a {v}",
            ),
            sentences=("the trade of {x} is that of a {v}", "everyone knows {x} as a {v}"),
            asides=("a {v} by trade",),
            statements=(
                "what {x} works as is a {v}",
                "the job of {x} is that of a {v}",
                "the trade by which {x} makes a living is that of a {v}",
            ),
            questions=(
                "What does {x} work as",
                "What is the trade of {x}",
                "As what does {x} make a living",
                "What is {x} by trade",
                "{which} job does {x} have",
                "By {which} trade does {x} make a living",
            ),
        ),
        FactType(
            name="teacher",
            value="person",
            predicates=("studied under {v}", "was taught by {v}", "learned everything from {v}"),
            sentences=("{v} taught {x}", "the teacher of {x} was {v}"),
            asides=("taught by {v}",),
            statements=(
                "the person who taught {x} is {v}",
                "{v} was the teacher of {x}",
                "{v} had {x} as a pupil",
            ),
            questions=(
                "Who taught {x}",
                "Who was the teacher of {x}",
                "By whom was {x} taught",
                "Under whom did {x} study",
                "From whom did {x} learn everything",
                "What is the name of the teacher of {x}",
            ),
        ),
        FactType(
            name="music",
            value="instrument",
            predicates=(
                "plays the {v}",
                "is fond of playing the {v}",
                "performs on the {v}",
            ),
            sentences=(
                "the favourite instrument of {x} is the {v}",
                "on holidays the village hears {x} on the {v}",
            ),
            asides=("a player of the {v}",),
            statements=(
                "what {x} plays is the {v}",
                "the instrument that {x} plays is the {v}",
                "the {v} is the instrument of {x}",
            ),
            questions=(
                "What does {x} play",
                "{which} instrument does {x} play",
                "What is the favourite instrument of {x}",
                "On {which} instrument does {x} perform",
                "What is {x} fond of playing",
            ),
        ),
        FactType(
            name="collection",
            value="collectable",
            predicates=("collects {v}", "has a large collection of {v}", "buys and keeps {v}"),
            sentences=(
                "the house of {x} is full of {v}",
                "the shelves of {x} hold nothing but {v}",
            ),
            asides=("a collector of {v}",),
            statements=(
                "what {x} collects is {v}",
                "the collection of {x} consists of {v}",
                "{v} are collected by {x}",
            ),
            questions=(
                "What does {x} collect",
                "What is {x} a collector of",
                "What is the house of {x} full of",
                "What does the collection of {x} consist of",
                "What do the shelves of {x} hold",
            ),
        ),
    ),
)

COMPANIES = Kind(
    name="company",
    title="Companies",
    pronouns=("it",),
    openings=(
        "{count} companies share the trade of the coast: {names}.",
        "Few firms are older than {names}.",
        "{count} firms showed their work at the last fair, {names}.",
    ),
    remarks=(
        "Letters to {x} are answered on the same day.",
        "The firms are rivals, but they share a warehouse.",
        "A fire once destroyed the archive of {x}.",
    ),
    facts=(
        FactType(
            name="founding",
            value="year",
            predicates=("was founded in {v}", "was set up in {v}", "opened for business in {v}"),
            sentences=("the founding of {x} took place in {v}", "trade at {x} began in {v}"),
            asides=("founded in {v}",),
            statements=(
                "the year in which {x} was founded is {v}",
                "{x} has been in business since {v}",
                "the founding year of {x} is {v}",
            ),
            questions=(
                "{when} was {x} founded",
                "{when} was {x} set up",
                "{when} did {x} open for business",
                "{when} did trade at {x} begin",
                "Since {which} year has {x} been in business",
            ),
        ),
        FactType(
            name="founder",
            value="person",
            predicates=("was founded by {v}", "was set up by {v}", "goes back to {v}"),
            sentences=("{v} founded {x}", "the founder of {x} was {v}"),
            asides=("founded by {v}",),
            statements=(
                "the person who founded {x} is {v}",
                "{v} was the founder of {x}",
                "{v} set up {x}",
            ),
            questions=(
                "Who founded {x}",
                "Who was the founder of {x}",
                "By whom was {x} founded",
                "What is the name of the founder of {x}",
                "Who set up {x}",
                "To whom does {x} go back",
            ),
        ),
        FactType(
            name="seat",
            value="town",
            predicates=("has its offices in {v}", "is based in {v}", "does its business in {v}"),
            sentences=("the head office of {x} is in {v}", "{v} is the seat of {x}"),
            asides=("based in {v}",),
            statements=(
                "the town where {x} has its offices is {v}",
                "the seat of {x} is {v}",
                "the head office of {x} stands in {v}",
            ),
            questions=(
                "{where} is {x} based",
                "{where} does {x} have its offices",
                "{where} is the head office of {x}",
                "{which} town is the seat of {x}",
                "What is the seat of {x}",
            ),
        ),
        FactType(
            name="product",
            value="wares",
            predicates=("makes {v}", "is known for its {v}", "supplies the islands with {v}"),
            sentences=("the chief product of {x} is {v}", "the workshops of {x} turn out {v}"),
            asides=("a maker of {v}",),
            statements=(
                "what {x} makes is {v}",
                "the product that {x} sells is {v}",
                "{v} are the chief product of {x}",
            ),
            questions=(
                "What does {x} make",
                "{which} product is {x} known for",
                "What is the chief product of {x}",
                "What is {x} known for",
                "With what does {x} supply the islands",
                "What do the workshops of {x} turn out",
            ),
        ),
        FactType(
            name="workforce",
            value="people",
            predicates=("employs {v} people", "gives work to {v} people", "has {v} workers"),
            sentences=("the number of workers at {x} is {v}", "about {v} people work for {x}"),
            asides=("with {v} workers",),
            statements=(
                "the number of people who work for {x} is {v}",
                "the number of people that {x} employs is {v}",
                "{x} has a workforce of {v}",
            ),
            questions=(
                "How many people does {x} employ",
                "How many people work for {x}",
                "How many workers does {x} have",
                "What is the number of workers at {x}",
                "To how many people does {x} give work",
                "How large is the workforce of {x}",
            ),
        ),
        FactType(
            name="director",
            value="person",
            predicates=("is run by {v}", "is led by {v}", "has {v} as director"),
            sentences=("the director of {x} is {v}", "{v} runs {x}"),
            asides=("led by {v}",),
            statements=(
                "the person who runs {x} is {v}",
                "{v} is the director of {x}",
                "{v} leads {x}",
            ),
            questions=(
                "Who runs {x}",
                "Who is the director of {x}",
                "By whom is {x} led",
                "{which} director runs {x}",
                "What is the name of the director of {x}",
                "Who leads {x}",
            ),
        ),
    ),
)

BRIDGES = Kind(
    name="bridge",
    title="Bridges",
    pronouns=("it",),
    openings=(
        "{count} bridges are found on old maps of the province: {names}.",
        "Engineers still come to look at {names}.",
        "{count} bridges survived the great flood, {names}.",
    ),
    remarks=(
        "In winter a watchman sweeps the snow from {x}.",
        "A toll was once paid on each of the bridges.",
        "The view from {x} is famous.",
    ),
    facts=(
        FactType(
            name="opening",
            value="year",
            predicates=(
                "was opened in {v}",
                "was finished in {v}",
                "has carried traffic since {v}",
            ),
            sentences=("the opening of {x} took place in {v}", "the work on {x} ended in {v}"),
            asides=("opened in {v}",),
            statements=(
                "the year in which {x} was opened is {v}",
                "traffic has crossed {x} since {v}",
                "the year when the work on {x} was finished is {v}",
            ),
            questions=(
                "{when} was {x} opened",
                "{when} was {x} finished",
                "{when} did the opening of {x} take place",
                "{when} did the work on {x} end",
                "Since {which} year has {x} carried traffic",
            ),
        ),
        FactType(
            name="designer",
            value="person",
            predicates=("was designed by {v}", "was drawn by {v}", "follows the plans of {v}"),
            sentences=("{v} designed {x}", "the designer of {x} was {v}"),
            asides=("designed by {v}",),
            statements=(
                "the person who designed {x} is {v}",
                "{v} was the designer of {x}",
                "{v} drew the plans for {x}",
            ),
            questions=(
                "Who designed {x}",
                "Who was the designer of {x}",
                "By whom was {x} designed",
                "Whose plans does {x} follow",
                "Who drew the plans for {x}",
                "What is the name of the designer of {x}",
            ),
        ),
        FactType(
            name="river",
            value="river",
            predicates=("crosses the {v}", "spans the river {v}", "leads over the {v}"),
            sentences=("the river {v} runs under {x}", "the {v} flows beneath {x}"),
            asides=("a crossing of the {v}",),
            statements=(
                "the river that {x} crosses is the {v}",
                "the river which flows under {x} is the {v}",
                "the {v} is spanned by {x}",
            ),
            questions=(
                "{which} river does {x} cross",
                "{which} river runs under {x}",
                "Over {which} river does {x} lead",
                "{which} river flows beneath {x}",
                "What is the name of the river under {x}",
            ),
        ),
        FactType(
            name="material",
            value="material",
            predicates=("is made of {v}", "was built of {v}", "consists mostly of {v}"),
            sentences=("the arches of {x} are of {v}", "the builders of {x} chose {v}"),
            asides=("made of {v}",),
            statements=(
                "what {x} is made of is {v}",
                "the material of which {x} consists is {v}",
                "{v} is the material of {x}",
            ),
            questions=(
                "What is {x} made of",
                "Of {which} material is {x} made",
                "{which} material was {x} built of",
                "What does {x} mostly consist of",
                "{which} material did the builders of {x} choose",
            ),
        ),
        FactType(
            name="length",
            value="metres",
            predicates=(
                "is {v} long",
                "measures {v} from end to end",
                "stretches over {v}",
            ),
            sentences=("the length of {x} is {v}", "walkers on {x} cover {v}"),
            asides=("with a length of {v}",),
            statements=(
                "the distance that {x} measures is {v}",
                "{x} reaches a length of {v}",
                "from end to end {x} is {v}",
            ),
            questions=(
                "How long is {x}",
                "What is the length of {x}",
                "How much does {x} measure from end to end",
                "Over {which} distance does {x} stretch",
                "What length does {x} reach",
            ),
        ),
        FactType(
            name="builder",
            value="company",
            predicates=("was built by {v}", "was put up by {v}", "was raised by {v}"),
            sentences=("{v} built {x}", "the builder of {x} was {v}"),
            asides=("built by {v}",),
            statements=(
                "the company that built {x} is {v}",
                "the firm that put up {x} is {v}",
                "{v} is the builder of {x}",
            ),
            questions=(
                "Who built {x}",
                "{which} company built {x}",
                "Who was the builder of {x}",
                "By whom was {x} built",
                "{which} firm put up {x}",
            ),
        ),
    ),
)

INSTRUMENTS = Kind(
    name="instrument",
    title="Stringed instruments",
    pronouns=("it",),
    openings=(
        "{count} stringed instruments are heard at every wedding: {names}.",
        "The museum of music has bought {names}.",
        "{count} stringed instruments are played in the islands, {names}.",
    ),
    remarks=(
        "Beginners find {x} hard to tune.",
        "The instruments are seldom played together.",
        "A famous song praises the sound of {x}.",
    ),
    facts=(
        FactType(
            name="invention",
            value="year",
            predicates=("was invented in {v}", "was first heard in {v}", "dates from {v}"),
            sentences=(
                "the invention of {x} took place in {v}",
                "in {v} came the invention of {x}",
            ),
            asides=("invented in {v}",),
            statements=(
                "the year in which {x} was invented is {v}",
                "{x} has been heard since {v}",
                "the year of the invention of {x} is {v}",
            ),
            questions=(
                "{when} was {x} invented",
                "{when} was {x} first heard",
                "{when} did the invention of {x} take place",
                "From {which} year does {x} date",
                "What is the year of the invention of {x}",
            ),
        ),
        FactType(
            name="inventor",
            value="person",
            predicates=("was invented by {v}", "is the idea of {v}", "was thought up by {v}"),
            sentences=("{v} invented {x}", "the inventor of {x} was {v}"),
            asides=("invented by {v}",),
            statements=(
                "the person who invented {x} is {v}",
                "{v} was the inventor of {x}",
                "{v} thought up {x}",
            ),
            questions=(
                "Who invented {x}",
                "Who was the inventor of {x}",
                "By whom was {x} invented",
                "Whose idea is {x}",
                "Who thought up {x}",
                "What is the name of the inventor of {x}",
            ),
        ),
        FactType(
            name="material",
            value="wood",
            predicates=("is made of {v}", "is carved from {v}", "has a body of {v}"),
            sentences=("the body of {x} is of {v}", "the carvers of {x} use {v}"),
            asides=("made of {v}",),
            statements=(
                "what {x} is made of is {v}",
                "the material from which {x} is carved is {v}",
                "{v} is the material of {x}",
            ),
            questions=(
                "What is {x} made of",
                "Of {which} material is {x} made",
                "From {which} material is {x} carved",
                "{which} material do the carvers of {x} use",
                "What is the body of {x} made of",
            ),
        ),
        FactType(
            name="strings",
            value="strings",
            predicates=(
                "has {v} strings",
                "is played on {v} strings",
                "is fitted with {v} strings",
            ),
            sentences=(
                "the number of strings on {x} is {v}",
                "the player of {x} plucks {v} strings",
            ),
            asides=("with {v} strings",),
            statements=(
                "the number of strings that {x} has is {v}",
                "{v} strings are fitted to {x}",
                "the strings of {x} are {v} in number",
            ),
            questions=(
                "How many strings does {x} have",
                "What is the number of strings on {x}",
                "On how many strings is {x} played",
                "How many strings is {x} fitted with",
                "How many strings does the player of {x} pluck",
            ),
        ),
        FactType(
            name="maker",
            value="company",
            predicates=("is produced by {v}", "is sold by {v}", "can be ordered from {v}"),
            sentences=("{v} produces {x}", "the only producer of {x} is {v}"),
            asides=("produced by {v}",),
            statements=(
                "the company that produces {x} is {v}",
                "the firm that sells {x} is {v}",
                "{v} is the producer of {x}",
            ),
            questions=(
                "Who produces {x}",
                "{which} company produces {x}",
                "By whom is {x} produced",
                "{which} firm sells {x}",
                "From whom can {x} be ordered",
                "Who is the only producer of {x}",
            ),
        ),
        FactType(
            name="origin",
            value="town",
            predicates=("comes from {v}", "was first played in {v}", "is at home in {v}"),
            sentences=("the origin of {x} is in {v}", "{v} is the birthplace of {x}"),
            asides=("at home in {v}",),
            statements=(
                "the town where {x} was first played is {v}",
                "the birthplace of {x} is {v}",
                "the town from which {x} comes is {v}",
            ),
            questions=(
                "{where} was {x} first played",
                "From {which} town does {x} come",
                "{where} is {x} at home",
                "{which} town is the birthplace of {x}",
                "What is the birthplace of {x}",
            ),
        ),
    ),
)

MOUNTAINS = Kind(
    name="mountain",
    title="Mountains",
    pronouns=("it",),
    openings=(
        "{count} mountains close the valley to the east: {names}.",
        "Climbers choose between {names}.",
        "{count} mountains can be seen from the pass, {names}.",
    ),
    remarks=(
        "Fog often hides the summit of {x}.",
        "Goats graze on the slopes of the mountains.",
        "The path up {x} is marked with stones.",
    ),
    facts=(
        FactType(
            name="climb",
            value="year",
            predicates=(
                "was first climbed in {v}",
                "was conquered in {v}",
                "saw its first climbers in {v}",
            ),
            sentences=(
                "the first climb of {x} took place in {v}",
                "in {v} someone reached the summit of {x}",
            ),
            asides=("first climbed in {v}",),
            statements=(
                "the year in which {x} was first climbed is {v}",
                "people have climbed {x} since {v}",
                "the year of the first climb of {x} is {v}",
            ),
            questions=(
                "{when} was {x} first climbed",
                "{when} was {x} conquered",
                "{when} did the first climb of {x} take place",
                "{when} did {x} see its first climbers",
                "What is the year of the first climb of {x}",
            ),
        ),
        FactType(
            name="climber",
            value="person",
            predicates=(
                "was first climbed by {v}",
                "was conquered by {v}",
                "yielded to {v}",
            ),
            sentences=("{v} was the first to climb {x}", "the conqueror of {x} was {v}"),
            asides=("first climbed by {v}",),
            statements=(
                "the person who first climbed {x} is {v}",
                "{v} was the conqueror of {x}",
                "{v} was the first person on {x}",
            ),
            questions=(
                "Who first climbed {x}",
                "Who was the first to climb {x}",
                "By whom was {x} conquered",
                "Who was the conqueror of {x}",
                "Who was the first person on {x}",
                "To whom did {x} yield",
            ),
        ),
        FactType(
            name="height",
            value="metres",
            predicates=("is {v} high", "rises to {v}", "reaches a height of {v}"),
            sentences=("the height of {x} is {v}", "the summit of {x} lies at {v}"),
            asides=("with a height of {v}",),
            statements=(
                "the height that {x} reaches is {v}",
                "the summit of {x} is at a height of {v}",
                "from foot to summit {x} is {v}",
            ),
            questions=(
                "How high is {x}",
                "What is the height of {x}",
                "How high does {x} rise",
                "{which} height does {x} reach",
                "At {which} height does the summit of {x} lie",
            ),
        ),
        FactType(
            name="ore",
            value="ore",
            predicates=("is rich in {v}", "is mined for {v}", "hides veins of {v}"),
            sentences=("the mines of {x} yield {v}", "miners on {x} dig for {v}"),
            asides=("rich in {v}",),
            statements=(
                "what {x} is mined for is {v}",
                "what miners find on {x} is {v}",
                "{v} is found in {x}",
            ),
            questions=(
                "What is {x} mined for",
                "What do the mines of {x} yield",
                "What do miners on {x} dig for",
                "{which} ore is {x} rich in",
                "Veins of {which} ore does {x} hide",
            ),
        ),
        FactType(
            name="source",
            value="river",
            predicates=(
                "is the source of the {v}",
                "feeds the river {v}",
                "sends its water into the {v}",
            ),
            sentences=("the {v} rises on {x}", "the river {v} begins on {x}"),
            asides=("the source of the {v}",),
            statements=(
                "the river that {x} feeds is the {v}",
                "the river which begins on {x} is the {v}",
                "the source of the {v} is on {x}",
            ),
            questions=(
                "{which} river begins on {x}",
                "{which} river does {x} feed",
                "Of {which} river is {x} the source",
                "{which} river rises on {x}",
                "Into {which} river does {x} send its water",
            ),
        ),
        FactType(
            name="nearest",
            value="town",
            predicates=("rises above {v}", "looks down on {v}", "casts its shadow on {v}"),
            sentences=("the town at the foot of {x} is {v}", "{v} lies below {x}"),
            asides=("high above {v}",),
            statements=(
                "the town that lies below {x} is {v}",
                "the town above which {x} rises is {v}",
                "{v} is the town at the foot of {x}",
            ),
            questions=(
                "{which} town lies below {x}",
                "Above {which} town does {x} rise",
                "{which} town is at the foot of {x}",
                "On {which} town does {x} look down",
                "On {which} town does {x} cast its shadow",
            ),
        ),
    ),
)

KINDS: tuple[Kind, ...] = (SHIPS, TOWNS, PEOPLE, COMPANIES, BRIDGES, INSTRUMENTS, MOUNTAINS)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


CLOSED_VALUES: dict[ValueKind, tuple[str, ...]] = {
    "goods": _words(
        "salt wool honey cheese butter barley wheat rye timber linen silk cotton leather wine cider"
        " beer tea coffee sugar pepper ginger saffron tobacco apples pears plums cherries olives"
        " onions almonds chestnuts herring cod oysters candles soap charcoal"
    ),
    "wares": _words(
        "ropes bells lamps clocks anchors barrels baskets boots bricks brooms buttons carpets"
        " carts chairs combs compasses hats kettles knives ladders locks mirrors nails needles"
        " nets ovens pianos ploughs saddles sails scissors spoons tiles umbrellas wheels"
    ),
    "colour": _words(
        "green red black white yellow blue grey brown purple crimson scarlet pink violet"
        " turquoise cream beige maroon lilac"
    ),
    "material": _words(
        "granite limestone marble sandstone slate basalt steel brick concrete oak elm larch cedar"
        " teak bamboo"
    ),
    "wood": _words(
        "walnut maple cedar cherrywood spruce beech birch pine larch rosewood bamboo ebony mahogany"
        " poplar willow olivewood"
    ),
    "ore": _words("copper tin lead zinc nickel cobalt gold silver quartz jade opal topaz garnet"),
    "trade": _words(
        "baker barber blacksmith bookbinder brewer butcher carpenter cobbler doctor farmer"
        " fisherman florist gardener glazier goldsmith hatter lawyer librarian locksmith mason"
        " miller nurse painter pharmacist plumber postman potter printer saddler surveyor tailor"
        " tanner translator watchmaker weaver"
    ),
    "instrument": _words(
        "fiddle flute harp trumpet cello drum lute clarinet horn piano guitar mandolin bassoon"
        " trombone tuba viola zither banjo"
    ),
    "collectable": _words(
        "coins shells maps stamps clocks masks fans dolls feathers fossils keys lanterns medals"
        " postcards puppets teapots thimbles bottles butterflies"
    ),
}
