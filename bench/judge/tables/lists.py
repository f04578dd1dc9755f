"""Which public tables, with what target; the names are those of R's packages.

A table is honest if its columns are known before its target, rows are not of the same people over
and over, and nothing in it was computed from the target. What could not be told so was left out.
"""

from __future__ import annotations

from typing import NamedTuple


class Named(NamedTuple):
    """A table of R's packages and its target; `leak` lists the columns that should be named.

    Without such columns the order of the rows knows: any doubt is right, and a split by it.
    """

    package: str
    item: str
    target: str
    leak: tuple[str, ...] = ()
    why: str = ""

    @property
    def title(self) -> str:
        """Name it as R does."""
        return f"{self.package}::{self.item}"


HONEST = (
    Named("ISLR", "Default", "default"),
    Named("ISLR", "OJ", "Purchase"),
    Named("ISLR", "Carseats", "Sales"),
    Named("ISLR", "Hitters", "Salary"),
    Named("ISLR", "Auto", "mpg"),
    Named("ISLR", "Caravan", "Purchase"),
    Named("ISLR", "Credit", "Balance"),
    Named("MASS", "Boston", "medv"),
    Named("MASS", "Pima.tr", "type"),
    Named("MASS", "Pima.te", "type"),
    Named("MASS", "biopsy", "class"),
    Named("MASS", "fgl", "type"),
    Named("MASS", "crabs", "sex"),
    Named("MASS", "quine", "Days"),
    Named("MASS", "cpus", "perf"),
    Named("MASS", "anorexia", "Postwt"),
    Named("AER", "Affairs", "affairs"),
    Named("AER", "SwissLabor", "participation"),
    Named("AER", "HMDA", "deny"),
    Named("AER", "NMES1988", "visits"),
    Named("AER", "CPS1985", "wage"),
    Named("AER", "CPS1988", "wage"),
    Named("AER", "DoctorVisits", "visits"),
    Named("AER", "HousePrices", "price"),
    Named("AER", "HealthInsurance", "insurance"),
    Named("AER", "SmokeBan", "smoker"),
    Named("AER", "CASchools", "math"),
    Named("AER", "MASchools", "score4"),
    Named("AER", "RecreationDemand", "trips"),
    Named("AER", "PhDPublications", "articles"),
    Named("AER", "Parade2005", "earnings"),
    Named("AER", "BankWages", "job"),
    Named("AER", "Medicaid1986", "visits"),
    Named("Ecdat", "Computers", "price"),
    Named("Ecdat", "Doctor", "doctor"),
    Named("Ecdat", "Star", "tmathssk"),
    Named("Ecdat", "BudgetFood", "wfood"),
    Named("Ecdat", "Diamond", "price"),
    Named("Ecdat", "Bwages", "wage"),
    Named("Ecdat", "Wages1", "wage"),
    Named("ggplot2", "diamonds", "price"),
    Named("ggplot2", "mpg", "hwy"),
    Named("carData", "Salaries", "salary"),
    Named("carData", "Chile", "vote"),
    Named("carData", "Arrests", "released"),
    Named("carData", "Cowles", "volunteer"),
    Named("carData", "Prestige", "prestige"),
    Named("carData", "SLID", "wages"),
    Named("carData", "Vocab", "vocabulary"),
    Named("carData", "TitanicSurvival", "survived"),
    Named("carData", "Womenlf", "partic"),
    Named("carData", "BEPS", "vote"),
    Named("DAAG", "spam7", "yesno"),
    Named("DAAG", "ais", "sex"),
    Named("DAAG", "possum", "sex"),
    Named("palmerpenguins", "penguins", "species"),
    Named("datasets", "airquality", "Ozone"),
    Named("rpart", "kyphosis", "Kyphosis"),
    Named("rpart", "cu.summary", "Price"),
    Named("rpart", "solder", "skips"),
    Named("boot", "urine", "r"),
    Named("openintro", "email", "spam"),
    Named("openintro", "bdims", "wgt"),
    Named("openintro", "babies", "bwt"),
    Named("openintro", "yrbss", "helmet_12m"),
    Named("openintro", "duke_forest", "price"),
    Named("openintro", "hsb2", "math"),
    Named("openintro", "mariokart", "total_pr"),
    Named("modeldata", "ad_data", "Class"),
    Named("modeldata", "attrition", "Attrition"),
    Named("modeldata", "car_prices", "Price"),
    Named("modeldata", "cells", "class"),
    Named("modeldata", "concrete", "compressive_strength"),
    Named("modeldata", "credit_data", "Status"),
    Named("modeldata", "deliveries", "time_to_delivery"),
    Named("modeldata", "hpc_data", "class"),
    Named("modeldata", "lending_club", "Class"),
    Named("modeldata", "mlc_churn", "churn"),
    Named("modeldata", "parabolic", "class"),
    Named("modeldata", "Sacramento", "price"),
    Named("modeldata", "scat", "Species"),
    Named("modeldata", "stackoverflow", "Remote"),
    Named("modeldata", "two_class_dat", "Class"),
    Named("modeldata", "bivariate_train", "Class"),
    Named("modeldata", "biomass", "HHV"),
    Named("modeldata", "Chicago", "ridership"),
    Named("modeldata", "ames", "Sale_Price"),
    Named("causaldata", "thornton_hiv", "got"),
    Named("causaldata", "credit_cards", "LateSept"),
    Named("wooldridge", "gpa1", "colGPA"),
    Named("wooldridge", "smoke", "cigs"),
    Named("wooldridge", "vote1", "voteA"),
    Named("wooldridge", "alcohol", "abuse"),
    Named("wooldridge", "catholic", "math12"),
    Named("wooldridge", "twoyear", "lwage"),
)

LEAKS = (
    Named("AER", "CreditCard", "card", ("share", "expenditure"), "spent with the card itself"),
    Named("MASS", "birthwt", "low", ("bwt",), "low is a weight below 2.5 kg"),
    Named(
        "AER", "PSID1976", "participation", ("hours", "wage"), "hours and wage of those who work"
    ),
    Named("wooldridge", "mroz", "inlf", ("hours", "wage", "lwage"), "hours of those who work"),
    Named("wooldridge", "affairs", "affair", ("naffairs",), "their number"),
    Named("wooldridge", "wage1", "wage", ("lwage",), "the target's logarithm"),
    Named("wooldridge", "wage2", "wage", ("lwage",), "the target's logarithm"),
    Named("wooldridge", "card", "wage", ("lwage",), "the target's logarithm"),
    Named("wooldridge", "htv", "wage", ("lwage",), "the target's logarithm"),
    Named("wooldridge", "nbasal", "wage", ("lwage",), "the target's logarithm"),
    Named("wooldridge", "mlb1", "salary", ("lsalary",), "the target's logarithm"),
    Named("wooldridge", "hprice1", "price", ("lprice",), "the target's logarithm"),
    Named("wooldridge", "bwght", "bwght", ("bwghtlbs", "lbwght"), "the target in other units"),
    Named("wooldridge", "attend", "final", ("stndfnl",), "the target, standardised"),
    Named("wooldridge", "loanapp", "approve", ("reject", "action"), "the opposite of the target"),
    Named("wooldridge", "labsup", "worked", ("hours", "weeks"), "hours of those who worked"),
    Named(
        "wooldridge",
        "cps91",
        "inlf",
        ("hours", "hrwage", "lwage", "earns"),
        "hours of those who work",
    ),
    Named("wooldridge", "charity", "respond", ("gift",), "the sum that was given"),
    Named("wooldridge", "discrim", "psoda", ("lpsoda",), "the target's logarithm"),
    Named("wooldridge", "jtrain2", "unem78", ("re78", "lre78"), "earned in that very year"),
    Named("ISLR", "Wage", "wage", ("logwage",), "the target's logarithm"),
    Named("MASS", "Cars93", "Price", ("Min.Price", "Max.Price"), "the price is their mean"),
    Named("ggplot2", "msleep", "sleep_total", ("awake",), "24 hours less the target"),
    Named("openintro", "births14", "premie", ("weeks",), "premature is below 37 weeks"),
    Named("openintro", "loans_full_schema", "interest_rate", ("sub_grade", "grade"), "its grade"),
    Named("DAAG", "nassCDS", "dead", ("injSeverity",), "4 means killed"),
    Named("causaldata", "nhefs", "death", ("yrdth", "modth", "dadth"), "the date of death"),
    Named("survival", "flchain", "death", ("chapter",), "the cause of death"),
    Named("MASS", "Aids2", "status", ("death",), "the day of death, or the study's last"),
)

# Rows of the same people, in which a random split shows what is learned of each.
PEOPLE = (
    Named("geepack", "ohio", "resp", ("id",), "four years of each child"),
    Named("geepack", "respiratory", "outcome", ("id",), "four visits of each patient"),
    Named("geepack", "dietox", "Weight", ("Pig",), "twelve weeks of each pig"),
    Named("datasets", "ChickWeight", "weight", ("Chick",), "twelve weighings of each chick"),
    Named("HSAUR", "respiratory", "status", ("subject",), "five months of each patient"),
    Named("MASS", "bacteria", "y", ("ID",), "five weeks of each child"),
    Named("survival", "colon", "status", ("id",), "two rows of each patient"),
    Named("Ecdat", "Train", "choice", ("id",), "ten choices of each traveller"),
    Named("plm", "Males", "wage", ("nr",), "eight years of each man"),
    Named("wooldridge", "wagepan", "lwage", ("nr",), "eight years of each man"),
    Named("plm", "LaborSupply", "lnwg", ("id",), "ten years of each man"),
    Named("AER", "TeachingRatings", "eval", ("prof",), "several courses of each professor"),
    Named("AER", "Guns", "violent", ("state",), "23 years of each state"),
    Named("lme4", "sleepstudy", "Reaction", ("Subject",), "ten days of each driver"),
    Named("lme4", "VerbAgg", "r2", ("id",), "24 items of each person"),
)
