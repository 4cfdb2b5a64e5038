"""Texts and questions of `manage.py demo`. No question shares a word with its answer, so only meaning finds it."""

MEMORIES = [
    "The harbour pilot Ingrid retires at the end of May after thirty-one years.",
    "Our biggest customer, Nordlys Shipping, pays every invoice ten days late.",
    "Deployments to production are frozen from the twentieth of December until the third of January.",
    "Tomas is allergic to peanuts, so the team lunch must never include satay sauce.",
    "The nightly export fails when a customer name contains an apostrophe.",
    "Marta prefers to be called before nine in the morning, never in the afternoon.",
    "The server room on the second floor overheats whenever both air conditioners run in eco mode.",
    "We chose PostgreSQL over MongoDB because the reports need joins across five tables.",
    "The contract with the cleaning company ends in September and renews by itself unless cancelled by July.",
    "Support tickets about login problems doubled after the password rules were tightened.",
    "The Lisbon office has no parking, visitors should take the metro to Rato.",
    "Anja speaks fluent Japanese and translated the manual for the Osaka branch.",
    "The mobile application crashes on tablets older than 2019 when the camera opens.",
    "Quarterly numbers must reach the board by the fifth working day of the month.",
    "The old billing system rounds half cents down, the new one rounds them to even.",
    "Feedback from the pilot group: the dark theme is too dim to read outdoors.",
    "The bakery next door delivers sandwiches for meetings if ordered before ten.",
    "Refunds above five hundred euros need a second signature from finance.",
    "The load balancer drops idle connections after sixty seconds.",
    "Kofi is training for a marathon and leaves at four on Thursdays.",
    "The test suite takes forty minutes because every case starts its own browser.",
    "Nobody knows the root password of the old mail server since Peter left.",
    "The warehouse scanners lose their wireless signal behind the steel shelves in aisle nine.",
    "Legal asked us to delete applicant data six months after a position is filled.",
    "The coffee machine on the third floor takes only cards, not coins.",
    "Search results improved when synonyms for product names were added to the index.",
    "The elevator inspection is due every March, the inspector needs the key from reception.",
    "Yusuf wants every summary as a short list, without introductions.",
    "Our certificate for the payment gateway expires on the ninth of February.",
    "The greenhouse sensors report humidity in percent but temperature in Fahrenheit.",
    "Interviews for the data engineer role start next week with three candidates.",
    "The printer on the ground floor jams on recycled paper.",
    "Rain came through the roof above the archive twice last winter.",
    "The trainee Lucia found the memory leak in the image resizer.",
    "Customers in Brazil must see prices with a comma as the decimal sign.",
    "The fire drill takes place on the first Monday of October at eleven.",
]

# A question, and the position of the memory that answers it.
QUESTIONS = [
    ("Which client is slow to settle bills?", 1),
    ("Where would a guest leave a car?", 10),
    ("Is there anything broken with taking photos?", 12),
    ("Whom should I phone early?", 5),
    ("Which colleague could talk to people in Tokyo?", 11),
]

# A question about the project's documents, and the file that answers it.
DOCUMENT_QUESTION = (
    "How many rows may a search scan exactly before it turns to the index?",
    "0004-exact-or-approximate.md",
)
