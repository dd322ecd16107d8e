import sys

from lrnorm.bench import main

sys.exit(main(sys.argv[1:]))
