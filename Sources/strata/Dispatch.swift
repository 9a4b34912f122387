// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import Storage
import Supervisor

/// From the words of a command line to an exit status.
enum Dispatch {
    static func run(_ words: [Word]) -> Int32 {
        let status = interpret(words)
        guard status == 0, let failure = Console.outputFailure else { return status }
        Console.errors.write("\(Strata.program.name): write standard output: \(failure)\n")
        return 1
    }

    private static func interpret(_ words: [Word]) -> Int32 {
        do throws(UsageError) {
            switch try Strata.program.interpret(words) {
            case .version:
                Console.output.write("\(Strata.program.name) version \(Strata.version)\n")
                return 0
            case .help(let topic):
                Console.output.write(Strata.program.help(topic, width: Console.output.width ?? 80))
                return 0
            case .run(let entry, let parsed):
                return run(entry, parsed)
            }
        } catch {
            return report(error)
        }
    }

    private static func run(_ entry: VerbEntry, _ parsed: Parsed) -> Int32 {
        do {
            return try entry.verb.run(parsed)
        } catch let error as UsageError {
            return report(error)
        } catch let failure as ExitStatus {
            return failure.status
        } catch let failure as any FailureWithStatus {
            Console.errors.write("\(failure)\n")
            return failure.status
        } catch let failure as StartFailure {
            Console.errors.write("\(Strata.program.name): \(failure)\n")
            return failure.code
        } catch {
            Console.errors.write("\(Strata.program.name): \(error)\n")
            return isInterruption(error)
                ? 128 + Interruption.received : entry.verb.declaration.failureStatus
        }
    }

    private static func isInterruption(_ error: any Error) -> Bool {
        if Interruption.received == 0 { return false }
        return (error as? StorageError)?.code == .interrupted || (error as? EngineError)?.code == .interrupted
    }

    private static func report(_ error: UsageError) -> Int32 {
        Console.errors.write("\(error)\n")
        return error.status
    }
}

/// Ends a verb with a status; what there was to say has been said.
struct ExitStatus: Error {
    let status: Int32
}

/// A failure with an exit status of its own.
protocol FailureWithStatus: Error {
    var status: Int32 { get }
}
