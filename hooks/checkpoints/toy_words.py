"""The text on which the toys' tokenizer is trained: every word here becomes one token with its leading space."""

from __future__ import annotations

FIRST_NAMES = """
Mary John James Robert Michael William David Richard Joseph Thomas Charles Daniel Matthew Anthony Mark Paul Steven
Andrew George Kevin Brian Edward Peter Henry Jack Adam Simon Martin Alan Tom Sam Ben Luke Max Jacob Noah
Patricia Jennifer Linda Elizabeth Barbara Susan Jessica Sarah Karen Lisa Nancy Emily Anna Emma Alice Laura Kate Amy
Rachel Julia Helen Diana Claire Lucy Grace Rose Jane Ruth Kelly Maria Rebecca Victoria Sophie Olivia Eric
Alex Chris Martha
"""

PLACES = """
store park school office house garden station restaurant hospital library museum market beach church farm bank cinema
kitchen shop street river city town village country airport hotel theatre forest mountain island
France Paris Germany Berlin Italy Rome Spain Madrid England London Japan Tokyo China Beijing Russia Moscow Canada Ottawa
Egypt Cairo Greece Athens India Delhi Poland Warsaw Sweden Stockholm Norway Oslo Austria Vienna Portugal Lisbon Ireland
Dublin Kenya Nairobi Cuba Havana Peru Lima Chile Europe Asia Africa America Eiffel Tower
"""

COLOURS = """
red blue green yellow black white orange purple pink brown grey gold silver violet turquoise
Red Blue Green Yellow Black White Orange Purple Pink Brown Grey
"""

OBJECTS = """
ball book drink apple cup pen pencil ring key bottle computer basket bag box hat table chair phone lamp plate fork knife
spoon clock watch flower letter necklace bone kiss snack present gift shirt shoe car bike train door window bread cake
map coin candle mirror guitar piano paper notebook envelope toothbrush keychain bracelet item object thing animal
dog cat horse bird fish mouse desk brush coat keys stone cloud glass field light metal tower plant heart
"""

OCCUPATIONS = """
doctor nurse teacher lawyer engineer farmer actor actress writer artist scientist driver baker waiter waitress soldier
pilot cook judge singer dancer mechanic secretary librarian carpenter plumber electrician receptionist hairdresser
cleaner manager builder guard student professor housekeeper programmer banker sailor king queen prince princess
boy girl captain maid butcher
man woman men women father mother son daughter brother sister husband wife uncle aunt
"""

NUMBERS = """
zero one two three four five six seven eight nine ten eleven twelve twenty hundred thousand first second third last
0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20
"""

SMALL_WORDS = """
I you he she it we they me him her us them my your his its our their mine himself herself who whom whose which what when
where why how this that these those the a an and or but not nor so if because while as than then there here of in on at
by to from with about into over under after before between through during without is are was were be been being am has
have had do does did will would shall should can could may might must very too also only just even still again never
always often soon now today yesterday tomorrow all any both each every few many more most much no none other some such
same up down out off away back near far long short big small large little old new young good bad great happy sad hot
cold left right high low fast slow early late next
"""

VERBS = """
went gave said told asked saw found made took got came put decided wanted thought knew liked loved helped called worked
lived played walked talked bought sold brought sent kept met ate drank read wrote sang danced ran sat stood opened
closed finished started wore had go give say tell ask see find make take get come think know like love help call work
live play walk talk buy sell bring send keep meet eat lasted lasts won lost moved born died visited speaks spoke spoken
located called named belongs happened became tired smiled understood prepared explained
"""

NOUNS = """
capital language war year years day days night morning evening time week month number name names word words story
question answer people person child children friend friends family life world water milk coffee tea money music sport
game team football basketball tennis colour color language French German Italian Spanish English Japanese Chinese
Russian Greek Polish Swedish Portuguese Arabic conflict trip battle meeting dinner lunch argument patient
customer floor side top part way hand head eye face place home work job Q A currency euro yen pound dollar continent
"""

OPENERS = """
The When Then While After Afterwards Before In On At It There He She They We I You A An And But So If This That What
Where Every Who How Yes No Friends Q A Question Answer Once Today One Two My Your His Her
"""

PUNCTUATION = ", . ; : ? ! ' \" - ( ) 's 't 'll 're 'd"

SPACED = (FIRST_NAMES, PLACES, COLOURS, OBJECTS, OCCUPATIONS, NUMBERS, SMALL_WORDS, VERBS, NOUNS, OPENERS)


def spaced_words() -> list[str]:
    """Every word that is one token after a space, without the space, sorted."""
    return sorted({word for group in SPACED for word in group.split()})


def training_lines() -> list[str]:
    """The training text: each word after a space, often enough to be merged; openers and names also without."""
    starts = sorted({*OPENERS.split(), *FIRST_NAMES.split()})
    lines = [f" {word}" for word in spaced_words()] + starts + PUNCTUATION.split() + ["\n", "\n\n", ".\n"]
    return [line for line in lines for _ in range(3)]
