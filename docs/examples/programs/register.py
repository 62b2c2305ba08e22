"""What a program says of itself: register.py MANDATE FILE

A mandate may ask for programs of a certain version and licence; one that says nothing counts as
unknown. Say it again after each update.
"""

import sys

import local_api

PROGRAM = {"name": "Rivage Facturation", "version": "4.2", "licence": "valid"}

if __name__ == "__main__":
    mandate, file = sys.argv[1:]
    try:
        local_api.call("PUT", "mandates", mandate, "files", file, "program", body=PROGRAM)
    except local_api.Refused as error:
        sys.exit(f"{error.code}: {error}")
    print(f"{file} is written by {PROGRAM['name']} {PROGRAM['version']}")
