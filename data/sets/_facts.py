"""Facts for the factual recall set, by relation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Relation:
    """One relation: sentences that end before the object, and its facts from subject to object."""

    name: str
    templates: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


def _facts(text: str) -> tuple[tuple[str, str], ...]:
    """Read `subject, subject > object; subject > object`, over as many lines as it takes."""
    pairs = (group.split(" > ") for group in " ".join(text.split()).split("; "))
    return tuple((subject, answer) for subjects, answer in pairs for subject in subjects.split(", "))


def relations() -> tuple[Relation, ...]:  # one table, so longer than 40 lines
    """Every relation. A country on two continents has no continent here; a currency that is changing is left out."""
    return (
        Relation(
            "capital of country",
            ("The capital of {subject} is", "The capital city of {subject} is called"),
            _facts("""
                France > Paris; Germany > Berlin; Italy > Rome; Spain > Madrid; Japan > Tokyo; China > Beijing;
                Russia > Moscow; England > London; Egypt > Cairo; Greece > Athens; Austria > Vienna; Portugal >
                Lisbon; Poland > Warsaw; Hungary > Budapest; Ireland > Dublin; Sweden > Stockholm; Norway > Oslo;
                Denmark > Copenhagen; Finland > Helsinki; Turkey > Ankara; Iran > Tehran; Iraq > Baghdad; Syria >
                Damascus; Lebanon > Beirut; Cuba > Havana; Peru > Lima; Chile > Santiago; Kenya > Nairobi;
                Thailand > Bangkok; Vietnam > Hanoi; Canada > Ottawa; Belgium > Brussels; Scotland > Edinburgh;
                Wales > Cardiff; Romania > Bucharest; Bulgaria > Sofia; Serbia > Belgrade; Croatia > Zagreb;
                Afghanistan > Kabul; Qatar > Doha
            """),
        ),
        Relation(
            "language of country",
            ("The main language spoken in {subject} is", "Most people in {subject} speak"),
            _facts("""
                France > French; Germany, Austria > German; Italy > Italian; Spain, Mexico, Argentina, Cuba,
                Colombia, Chile, Uruguay, Venezuela > Spanish; Japan > Japanese; China > Chinese; Russia >
                Russian; Greece > Greek; Portugal, Brazil > Portuguese; Poland > Polish; Hungary > Hungarian;
                Sweden > Swedish; Norway > Norwegian; Denmark > Danish; Turkey > Turkish; Iran > Persian; Egypt,
                Jordan, Syria, Yemen, Kuwait > Arabic; Thailand > Thai; Vietnam > Vietnamese; Israel > Hebrew;
                Australia, England > English; Finland > Finnish; Iceland > Icelandic; Romania > Romanian
            """),
        ),
        Relation(
            "continent of country",
            ("Paris is a city in Europe. {subject} is a country in", "On the map, {subject} lies in the continent of"),
            _facts("""
                Japan, China, India, Nepal, Thailand, Vietnam, Mongolia, Pakistan, Iraq, Iran, Laos, Bangladesh,
                Cambodia > Asia; Kenya, Nigeria, Ghana, Ethiopia, Morocco, Algeria, Uganda, Sudan, Senegal,
                Zimbabwe, Angola, Libya, Rwanda > Africa; France, Germany, Italy, Poland, Sweden, Norway, Austria,
                Ireland, Hungary, Belgium, Finland, Switzerland > Europe
            """),
        ),
        Relation(
            "currency of country",
            ("The currency used in {subject} is called the", "In {subject}, people pay with a currency called the"),
            _facts("""
                Japan > yen; China > yuan; England, Egypt > pound; India, Pakistan, Nepal > rupee; Russia > ruble;
                Germany, France, Italy, Spain, Ireland, Austria, Finland, Greece, Portugal, Belgium > euro;
                Mexico, Chile, Argentina, Cuba, Colombia > peso; Canada, Australia, America, Jamaica > dollar;
                Thailand > baht; Switzerland > franc; Poland > zloty; Sweden > krona; Norway, Denmark > krone;
                Turkey > lira; Iran > rial; Iraq, Jordan, Kuwait, Tunisia > dinar
            """),
        ),
        Relation(
            "country of city",
            ("The city of {subject} is located in the country of", "{subject} is a city in"),
            _facts("""
                Munich, Hamburg, Frankfurt, Cologne > Germany; Milan, Naples, Florence, Venice > Italy; Barcelona,
                Seville > Spain; Osaka, Kyoto > Japan; Shanghai, Guangzhou > China; Lyon, Marseille > France;
                Mumbai, Chennai > India; Toronto, Montreal, Vancouver > Canada; Sydney, Melbourne, Brisbane >
                Australia; Liverpool, Manchester > England; Istanbul > Turkey; Lahore, Karachi > Pakistan; Geneva,
                Zurich > Switzerland; Glasgow > Scotland; Lagos > Nigeria
            """),
        ),
        Relation(
            "young of animal",
            ("A baby {subject} is called a", "The young of a {subject} is known as a"),
            _facts("""
                dog > puppy; cat > kitten; cow, whale, elephant, dolphin > calf; horse > foal; sheep > lamb; bear,
                lion, tiger, leopard, panda > cub; goat > kid; deer > fawn; pig > piglet; kangaroo, koala > joey;
                goose > gosling; duck > duckling; chicken > chick
            """),
        ),
        Relation(
            "opposite of word",
            ("The opposite of {subject} is", "The opposite of big is small. The opposite of {subject} is"),
            _facts("""
                hot > cold; up > down; left > right; black > white; day > night; good > bad; fast > slow; high >
                low; rich > poor; old > young; hard > soft; light > dark; strong > weak; early > late; happy >
                sad; wet > dry; inside > outside; true > false; love > hate; war > peace; first > last; long >
                short; full > empty; loud > quiet; north > south; east > west; open > closed; win > lose
            """),
        ),
        Relation(
            "symbol of element",
            ("The chemical symbol for {subject} is", "In the periodic table, the symbol for {subject} is"),
            _facts("""
                gold > Au; silver > Ag; iron > Fe; copper > Cu; lead > Pb; tin > Sn; oxygen > O; hydrogen > H;
                carbon > C; nitrogen > N; sodium > Na; potassium > K; calcium > Ca; helium > He; zinc > Zn;
                mercury > Hg; chlorine > Cl; nickel > Ni; magnesium > Mg; aluminum > Al; silicon > Si; lithium >
                Li; uranium > U
            """),
        ),
    )
