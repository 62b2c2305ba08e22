"""What a program shows at its start: pending.py

Prints, for each mandate, what waits to be posted and what a person should look at.
"""

import sys

import local_api


def main() -> int:
    """Print one line for each mandate."""
    try:
        mandates = local_api.call("GET", "mandates")["mandates"]
        alerts = local_api.call("GET", "alerts")["alerts"]
    except local_api.NotRunning as error:
        print(error, file=sys.stderr)
        return 4
    for mandate in mandates:
        waits = mandate["pending"]
        mine = [alert["text"] for alert in alerts if alert["mandate"] == mandate["id"]]
        print(f"{mandate['name']}: +{waits['added']} -{waits['deleted']}", *mine, sep="; ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
