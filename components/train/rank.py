"""One rank of a phase's training, as torchrun starts it. Its argument is the folder with the job."""

import sys
from pathlib import Path

from components.train.launch import read_job, write_error
from progan.distributed import joined
from progan.errors import InputError, Interrupted


def main() -> None:
    folder = Path(sys.argv[1])
    with joined() as ranks:
        try:
            read_job(folder).run(ranks)
        except (InputError, Interrupted) as error:
            write_error(error, ranks.rank, folder)
            sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
