"""What citizens are asked: questions, answers, scores, reports. Imports crm."""
