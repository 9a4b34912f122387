// SPDX-License-Identifier: Apache-2.0

import Command
import Glibc

exit(Dispatch.run(Word.ofThisProcess()))
