"""``python -m crm_digital_fte`` (in a checkout ``python -m app``): ``crm`` without the installed script."""

from .cli import main

main()
